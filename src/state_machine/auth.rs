//! Users, roles and what each role may do (AUT-1..AUT-8), as rows: nobody is asked for them yet.
//!
//! ```text
//!   auth       authRevision    one more with every change                     AUT-4
//!   authUsers  name            User {password hash, roles, sorted}            FMT-13
//!   authRoles  name            Role {permissions, by key}
//! ```
//!
//! Writes: `apply`, through `AuthStore`, which holds the rows of all users and roles. Reads: nobody but `apply`.
//! Entries come from a log that a Go member wrote while authentication was off, and change what it would have changed.
//! Does not turn authentication on: a store that has it on is refused at open.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message;

use super::OpenError;
use super::effects::Outcome;
use crate::storage::{Batch, Keyspace, Read};
use crate::wire::authpb::{Permission, Role, User, UserAddOptions};
use crate::wire::error::Error;
use crate::wire::etcdserverpb as pb;

const REVISION: &[u8] = b"authRevision";
/// Of a store in which no user or role was ever changed (AUT-4).
const REVISION_FIRST: u64 = 1;
/// May be granted without being there (AUT-2).
const ROOT: &str = "root";

/// A change of users or roles.
#[derive(Clone, Debug, PartialEq)]
pub enum AuthChange {
    UserAdd(pb::AuthUserAddRequest),
    UserDelete(pb::AuthUserDeleteRequest),
    UserChangePassword(pb::AuthUserChangePasswordRequest),
    UserGrantRole(pb::AuthUserGrantRoleRequest),
    UserRevokeRole(pb::AuthUserRevokeRoleRequest),
    RoleAdd(pb::AuthRoleAddRequest),
    RoleDelete(pb::AuthRoleDeleteRequest),
    RoleGrantPermission(pb::AuthRoleGrantPermissionRequest),
    RoleRevokePermission(pb::AuthRoleRevokePermissionRequest),
}

impl AuthChange {
    pub(super) fn of(request: &mut pb::InternalRaftRequest) -> Option<AuthChange> {
        None.or(request.auth_user_add.take().map(AuthChange::UserAdd))
            .or(request.auth_user_delete.take().map(AuthChange::UserDelete))
            .or(request.auth_user_change_password.take().map(AuthChange::UserChangePassword))
            .or(request.auth_user_grant_role.take().map(AuthChange::UserGrantRole))
            .or(request.auth_user_revoke_role.take().map(AuthChange::UserRevokeRole))
            .or(request.auth_role_add.take().map(AuthChange::RoleAdd))
            .or(request.auth_role_delete.take().map(AuthChange::RoleDelete))
            .or(request.auth_role_grant_permission.take().map(AuthChange::RoleGrantPermission))
            .or(request.auth_role_revoke_permission.take().map(AuthChange::RoleRevokePermission))
    }

    pub(super) fn into_request(self, request: &mut pb::InternalRaftRequest) {
        match self {
            AuthChange::UserAdd(change) => request.auth_user_add = Some(change),
            AuthChange::UserDelete(change) => request.auth_user_delete = Some(change),
            AuthChange::UserChangePassword(change) => request.auth_user_change_password = Some(change),
            AuthChange::UserGrantRole(change) => request.auth_user_grant_role = Some(change),
            AuthChange::UserRevokeRole(change) => request.auth_user_revoke_role = Some(change),
            AuthChange::RoleAdd(change) => request.auth_role_add = Some(change),
            AuthChange::RoleDelete(change) => request.auth_role_delete = Some(change),
            AuthChange::RoleGrantPermission(change) => request.auth_role_grant_permission = Some(change),
            AuthChange::RoleRevokePermission(change) => request.auth_role_revoke_permission = Some(change),
        }
    }

    /// Members before 3.5 logged passwords as they are, and each hashed them with a salt of its own: two members that apply such an entry
    /// have different rows.
    pub fn has_plain_password(&self) -> bool {
        match self {
            AuthChange::UserAdd(add) => !add.password.is_empty() && add.hashed_password.is_empty(),
            AuthChange::UserChangePassword(change) => !change.password.is_empty() && change.hashed_password.is_empty(),
            _ => false,
        }
    }
}

/// The rows.
pub(super) struct AuthStore {
    revision: u64,
    users: BTreeMap<Bytes, User>,
    roles: BTreeMap<Bytes, Role>,
}

impl AuthStore {
    pub fn open(store: &dyn Read) -> Result<AuthStore, OpenError> {
        let revision = match store.get(Keyspace::Auth, REVISION)? {
            None => REVISION_FIRST,
            Some(row) => row[..].try_into().map(u64::from_be_bytes).map_err(|_| OpenError::Row {
                key: "authRevision of auth".into(),
                why: format!("a number has 8 bytes, not {}", row.len()),
            })?,
        };
        Ok(AuthStore { revision, users: read(store, Keyspace::AuthUsers)?, roles: read(store, Keyspace::AuthRoles)? })
    }

    /// A change that is refused leaves no row (AUT-35).
    pub fn apply(&mut self, change: AuthChange, batch: &mut Batch) -> Outcome<()> {
        let is_changed = match change {
            AuthChange::UserAdd(request) => self.add_user(request, batch),
            AuthChange::UserDelete(request) => self.delete_user(&request.name, batch),
            AuthChange::UserChangePassword(request) => self.change_password(&request, batch),
            AuthChange::UserGrantRole(request) => self.grant_role(request, batch),
            AuthChange::UserRevokeRole(request) => self.revoke_role(&request, batch),
            AuthChange::RoleAdd(request) => self.add_role(request.name, batch),
            AuthChange::RoleDelete(request) => self.delete_role(&request.role, batch),
            AuthChange::RoleGrantPermission(request) => self.grant_permission(request, batch),
            AuthChange::RoleRevokePermission(request) => self.revoke_permission(&request, batch),
        }?;
        if is_changed {
            self.revision += 1;
            batch.put(Keyspace::Auth, REVISION, self.revision.to_be_bytes().to_vec());
        }
        Ok(())
    }

    fn add_user(&mut self, request: pb::AuthUserAddRequest, batch: &mut Batch) -> Result<bool, Error> {
        if request.name.is_empty() {
            return Err(Error::UserEmpty);
        }
        if self.users.contains_key(request.name.as_bytes()) {
            return Err(Error::UserAlreadyExist);
        }
        let options = request.options.unwrap_or(UserAddOptions { no_password: false });
        let password = if options.no_password { Bytes::new() } else { hash_of(&request.hashed_password)? };
        let user = User { name: request.name.into(), password, roles: Vec::new(), options: Some(options) };
        put_user(user, &mut self.users, batch);
        Ok(true)
    }

    fn delete_user(&mut self, name: &str, batch: &mut Batch) -> Result<bool, Error> {
        let user = self.users.remove(name.as_bytes()).ok_or(Error::UserNotFound)?;
        batch.delete(Keyspace::AuthUsers, user.name);
        Ok(true)
    }

    fn change_password(&mut self, request: &pb::AuthUserChangePasswordRequest, batch: &mut Batch) -> Result<bool, Error> {
        let user = self.users.get(request.name.as_bytes()).ok_or(Error::UserNotFound)?;
        let has_password = user.options.as_ref().is_none_or(|options| !options.no_password);
        let password = if has_password { hash_of(&request.hashed_password)? } else { Bytes::new() };
        put_user(User { password, ..user.clone() }, &mut self.users, batch);
        Ok(true)
    }

    fn grant_role(&mut self, request: pb::AuthUserGrantRoleRequest, batch: &mut Batch) -> Result<bool, Error> {
        let user = self.users.get(request.user.as_bytes()).ok_or(Error::UserNotFound)?;
        if request.role != ROOT && !self.roles.contains_key(request.role.as_bytes()) {
            return Err(Error::RoleNotFound);
        }
        let Err(at) = user.roles.binary_search(&request.role) else { return Ok(false) };
        let mut user = user.clone();
        user.roles.insert(at, request.role);
        put_user(user, &mut self.users, batch);
        Ok(true)
    }

    fn revoke_role(&mut self, request: &pb::AuthUserRevokeRoleRequest, batch: &mut Batch) -> Result<bool, Error> {
        let user = self.users.get(request.name.as_bytes()).ok_or(Error::UserNotFound)?;
        let user = without_role(user, &request.role).ok_or(Error::RoleNotGranted)?;
        put_user(user, &mut self.users, batch);
        Ok(true)
    }

    fn add_role(&mut self, name: String, batch: &mut Batch) -> Result<bool, Error> {
        if name.is_empty() {
            return Err(Error::RoleEmpty);
        }
        if self.roles.contains_key(name.as_bytes()) {
            return Err(Error::RoleAlreadyExist);
        }
        put_role(Role { name: name.into(), key_permission: Vec::new() }, &mut self.roles, batch);
        Ok(true)
    }

    /// Every user loses it (AUT-8).
    fn delete_role(&mut self, name: &str, batch: &mut Batch) -> Result<bool, Error> {
        let role = self.roles.remove(name.as_bytes()).ok_or(Error::RoleNotFound)?;
        batch.delete(Keyspace::AuthRoles, role.name);
        let users: Vec<User> = self.users.values().filter_map(|user| without_role(user, name)).collect();
        users.into_iter().for_each(|user| put_user(user, &mut self.users, batch));
        Ok(true)
    }

    /// Quirk: etcd (server/auth/store.go) looks for the same interval only at the first permission of the same key, so a second one of
    /// that key is there twice when its type is changed; pinned by `a_permission_is_replaced_where_etcd_finds_it`.
    fn grant_permission(&mut self, request: pb::AuthRoleGrantPermissionRequest, batch: &mut Batch) -> Result<bool, Error> {
        let granted = request.perm.ok_or(Error::PermissionNotGiven)?;
        if !is_interval(&granted.key, &granted.range_end) {
            return Err(Error::InvalidAuthMgmt);
        }
        let mut role = self.roles.get(request.name.as_bytes()).ok_or(Error::RoleNotFound)?.clone();
        let permissions = &mut role.key_permission;
        let at = permissions.partition_point(|permission| permission.key < granted.key);
        match permissions.get_mut(at).filter(|found| found.key == granted.key && found.range_end == granted.range_end) {
            Some(found) => found.perm_type = granted.perm_type,
            None => {
                let after = permissions.partition_point(|permission| permission.key <= granted.key);
                permissions.insert(after, granted);
            }
        }
        put_role(role, &mut self.roles, batch);
        Ok(true)
    }

    fn revoke_permission(&mut self, request: &pb::AuthRoleRevokePermissionRequest, batch: &mut Batch) -> Result<bool, Error> {
        let role = self.roles.get(request.role.as_bytes()).ok_or(Error::RoleNotFound)?;
        let is_kept = |permission: &&Permission| permission.key != request.key || permission.range_end != request.range_end;
        let kept: Vec<Permission> = role.key_permission.iter().filter(is_kept).cloned().collect();
        if kept.len() == role.key_permission.len() {
            return Err(Error::PermissionNotGranted);
        }
        put_role(Role { name: role.name.clone(), key_permission: kept }, &mut self.roles, batch);
        Ok(true)
    }
}

fn read<T: Message + Default>(store: &dyn Read, keyspace: Keyspace) -> Result<BTreeMap<Bytes, T>, OpenError> {
    let (mut rows, mut broken) = (BTreeMap::new(), None);
    store.scan(keyspace, b"", None, &mut |key, value| match T::decode(value) {
        Ok(row) => {
            rows.insert(Bytes::copy_from_slice(key), row);
            ControlFlow::Continue(())
        }
        Err(error) => {
            broken = Some(OpenError::Row { key: format!("{} of {}", key.escape_ascii(), keyspace.name()), why: error.to_string() });
            ControlFlow::Break(())
        }
    })?;
    broken.map_or(Ok(rows), Err)
}

fn put_user(user: User, users: &mut BTreeMap<Bytes, User>, batch: &mut Batch) {
    batch.put(Keyspace::AuthUsers, user.name.clone(), user.encode_to_vec());
    users.insert(user.name.clone(), user);
}

fn put_role(role: Role, roles: &mut BTreeMap<Bytes, Role>, batch: &mut Batch) {
    batch.put(Keyspace::AuthRoles, role.name.clone(), role.encode_to_vec());
    roles.insert(role.name.clone(), role);
}

/// None if the user does not have it.
fn without_role(user: &User, role: &str) -> Option<User> {
    let roles: Vec<String> = user.roles.iter().filter(|held| *held != role).cloned().collect();
    (roles.len() < user.roles.len()).then(|| User { roles, ..user.clone() })
}

/// As the member that proposed has made it (AUT-6).
fn hash_of(base64: &str) -> Result<Bytes, Error> {
    STANDARD.decode(base64).map(Bytes::from).map_err(|_| Error::AuthFailed)
}

/// AUT-7.
fn is_interval(key: &[u8], end: &[u8]) -> bool {
    !key.is_empty() && (end.is_empty() || end == [0] || key < end)
}
