//! Users and roles that a log changes while authentication is off.

use super::*;
use crate::wire::authpb::{Permission, Role, User, UserAddOptions};
use crate::wire::etcdserverpb as pb;

fn user(bench: &Bench, name: &str) -> Option<User> {
    bench.engine.get(Keyspace::AuthUsers, name.as_bytes()).unwrap().map(|row| User::decode(row).unwrap())
}

fn role(bench: &Bench, name: &str) -> Option<Role> {
    bench.engine.get(Keyspace::AuthRoles, name.as_bytes()).unwrap().map(|row| Role::decode(row).unwrap())
}

/// 1 if there is no row.
fn revision(bench: &Bench) -> u64 {
    bench.engine.get(Keyspace::Auth, b"authRevision").unwrap().map_or(1, |row| u64::from_be_bytes(row[..].try_into().unwrap()))
}

fn change(bench: &mut Bench, change: AuthChange) -> Result<(), Error> {
    let before = revision(bench);
    let answer = bench.apply(Action::AuthChange(change)).reply.unwrap().map(drop);
    assert!(answer.is_ok() || revision(bench) == before, "what is refused changes nothing");
    answer
}

fn add_user(name: &str) -> AuthChange {
    AuthChange::UserAdd(pb::AuthUserAddRequest { name: name.into(), hashed_password: "aGFzaA==".into(), ..Default::default() })
}

fn add_role(name: &str) -> AuthChange {
    AuthChange::RoleAdd(pb::AuthRoleAddRequest { name: name.into() })
}

fn grant_role(user: &str, role: &str) -> AuthChange {
    AuthChange::UserGrantRole(pb::AuthUserGrantRoleRequest { user: user.into(), role: role.into() })
}

fn permission(perm_type: i32, key: &'static str, end: &'static str) -> Permission {
    Permission { perm_type, key: key.into(), range_end: end.into() }
}

fn grant(role: &str, perm: Option<Permission>) -> AuthChange {
    AuthChange::RoleGrantPermission(pb::AuthRoleGrantPermissionRequest { name: role.into(), perm })
}

#[test]
fn users_come_change_and_go_and_each_change_is_counted() {
    let mut bench = Bench::new();
    assert_eq!(change(&mut bench, add_user("")), Err(Error::UserEmpty));
    change(&mut bench, add_user("alice")).unwrap();
    assert_eq!(change(&mut bench, add_user("alice")), Err(Error::UserAlreadyExist));
    let options = Some(UserAddOptions { no_password: false });
    let alice = User { name: "alice".into(), password: "hash".into(), roles: Vec::new(), options };
    assert_eq!((user(&bench, "alice"), revision(&bench)), (Some(alice.clone()), 2));

    let named = |name: &str, hashed: &str| pb::AuthUserChangePasswordRequest {
        name: name.into(),
        hashed_password: hashed.into(),
        ..Default::default()
    };
    change(&mut bench, AuthChange::UserChangePassword(named("alice", "b3RoZXI="))).unwrap();
    assert_eq!(user(&bench, "alice"), Some(User { password: "other".into(), ..alice }));
    assert_eq!(change(&mut bench, AuthChange::UserChangePassword(named("bob", ""))), Err(Error::UserNotFound));

    let certified = pb::AuthUserAddRequest { name: "c".into(), options: Some(UserAddOptions { no_password: true }), ..Default::default() };
    change(&mut bench, AuthChange::UserAdd(certified)).unwrap();
    assert!(user(&bench, "c").unwrap().password.is_empty());

    let mut bench = bench.restart();
    change(&mut bench, AuthChange::UserDelete(pb::AuthUserDeleteRequest { name: "alice".into() })).unwrap();
    assert_eq!((user(&bench, "alice"), revision(&bench)), (None, 5));
}

#[test]
fn a_role_is_granted_once_in_order_and_lost_with_the_role() {
    let mut bench = Bench::new();
    for setup in [add_user("alice"), add_user("bob"), add_role("reader"), add_role("a")] {
        change(&mut bench, setup).unwrap();
    }
    assert_eq!(change(&mut bench, add_role("a")), Err(Error::RoleAlreadyExist));
    assert_eq!(change(&mut bench, add_role("")), Err(Error::RoleEmpty));
    for role in ["root", "reader", "a"] {
        change(&mut bench, grant_role("alice", role)).unwrap();
    }
    change(&mut bench, grant_role("bob", "reader")).unwrap();
    let counted = revision(&bench);
    change(&mut bench, grant_role("bob", "reader")).unwrap();
    assert_eq!(revision(&bench), counted, "a second grant is none");
    assert_eq!(change(&mut bench, grant_role("bob", "writer")), Err(Error::RoleNotFound));
    assert_eq!(user(&bench, "alice").unwrap().roles, ["a", "reader", "root"]);

    let revoke = |name: &str| AuthChange::UserRevokeRole(pb::AuthUserRevokeRoleRequest { name: name.into(), role: "a".into() });
    change(&mut bench, revoke("alice")).unwrap();
    assert_eq!(change(&mut bench, revoke("bob")), Err(Error::RoleNotGranted));
    change(&mut bench, AuthChange::RoleDelete(pb::AuthRoleDeleteRequest { role: "reader".into() })).unwrap();
    assert_eq!(role(&bench, "reader"), None);
    assert_eq!((user(&bench, "alice").unwrap().roles, user(&bench, "bob").unwrap().roles), (vec!["root".to_owned()], Vec::new()));
    assert_eq!(revision(&bench), counted + 2);
}

#[test]
fn a_permission_is_replaced_where_etcd_finds_it() {
    let mut bench = Bench::new();
    change(&mut bench, add_role("r")).unwrap();
    for granted in [permission(0, "b", ""), permission(1, "a", "\0"), permission(0, "b", "c")] {
        change(&mut bench, grant("r", Some(granted))).unwrap();
    }
    let stored = |bench: &Bench| role(bench, "r").unwrap().key_permission;
    assert_eq!(stored(&bench), [permission(1, "a", "\0"), permission(0, "b", ""), permission(0, "b", "c")]);
    change(&mut bench, grant("r", Some(permission(2, "b", "")))).unwrap();
    assert_eq!(stored(&bench)[1], permission(2, "b", ""));
    // The one behind it is not found.
    change(&mut bench, grant("r", Some(permission(2, "b", "c")))).unwrap();
    assert_eq!(stored(&bench)[2..], [permission(0, "b", "c"), permission(2, "b", "c")]);

    assert_eq!(change(&mut bench, grant("r", None)), Err(Error::PermissionNotGiven));
    assert_eq!(change(&mut bench, grant("x", Some(permission(0, "a", "")))), Err(Error::RoleNotFound));
    for (key, end) in [("", ""), ("b", "a"), ("b", "b")] {
        assert_eq!(change(&mut bench, grant("r", Some(permission(0, key, end)))), Err(Error::InvalidAuthMgmt), "{key} {end}");
    }
    let revoke = || pb::AuthRoleRevokePermissionRequest { role: "r".into(), key: "b".into(), range_end: "c".into() };
    change(&mut bench, AuthChange::RoleRevokePermission(revoke())).unwrap();
    assert_eq!(stored(&bench), [permission(1, "a", "\0"), permission(2, "b", "")]);
    assert_eq!(change(&mut bench, AuthChange::RoleRevokePermission(revoke())), Err(Error::PermissionNotGranted));
}
