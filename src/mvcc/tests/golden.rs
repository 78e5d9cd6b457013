//! Hashes that etcd's own tests hold fixed (its hash_test.go), and what a restart must find.

use super::engine::Store;

/// The keys of etcd's hash tests.
fn key(i: i64) -> &'static str {
    match i {
        i if i % 142 == 30 => "zenek",
        i if i % 71 == 30 => "xavery",
        i => ["alice", "bob", "celine", "dominik", "eve", "frederica", "gorge"][(i % 7) as usize],
    }
}

fn put_all(s: &mut Store, from: i64, count: i64) {
    for i in from..=from + count {
        s.put(key(i), &i.to_string());
    }
}

fn hash_and_compact(s: &mut Store, revision: i64) -> (u32, i64, i64) {
    let revision = if revision == 0 { s.reader.revision() } else { revision };
    let hash = s.reader.hash_kv(revision).unwrap();
    s.compact(revision).unwrap();
    (hash.hash, hash.compact_revision, hash.revision)
}

#[test]
fn hashes_at_older_revisions_are_those_of_etcd() {
    let golden = [
        (4082599214, -1, 35),
        (2279933401, 35, 106),
        (3284231217, 106, 177),
        (126286495, 177, 248),
        (900108730, 248, 319),
        (2475485232, 319, 390),
        (1226296507, 390, 461),
        (2503661030, 461, 532),
        (4155130747, 532, 603),
        (106915399, 603, 674),
        (406914006, 674, 745),
        (1882211381, 745, 816),
        (806177088, 816, 887),
        (664311366, 887, 958),
        (1496914449, 958, 1029),
        (2434525091, 1029, 1100),
        (3988652253, 1100, 1171),
        (1122462288, 1171, 1242),
        (724436716, 1242, 1883),
    ];
    // Whether the sweep has been through, is half way, or has not begun must not show.
    for slices in [0, 1, usize::MAX] {
        let mut s = Store::new();
        let mut got = Vec::new();
        for (i, _) in golden.iter().enumerate() {
            let (revision, count) = if i + 1 < golden.len() { (i as i64 * 71, 71) } else { (18 * 71, 1210) };
            put_all(&mut s, revision, count);
            got.push(hash_and_compact(&mut s, revision + count / 2));
            for _ in 0..slices.min(100) {
                s.batch(|writer, batch| writer.sweep(batch, 20));
            }
        }
        assert_eq!(got, golden);
    }
}

#[test]
fn hashes_at_the_latest_revision_are_those_of_etcd() {
    let golden = [
        (1913897190, -1, 73),
        (224860069, 73, 145),
        (1565167519, 145, 217),
        (1566261620, 217, 289),
        (2037173024, 289, 361),
        (691659396, 361, 433),
        (2713730748, 433, 505),
        (3919322507, 505, 577),
        (769967540, 577, 649),
        (2909194793, 649, 721),
        (1576921157, 721, 793),
        (4067701532, 793, 865),
        (2226384237, 865, 937),
        (2923408134, 937, 1009),
        (2680329256, 1009, 1081),
        (1546717673, 1081, 1153),
        (2713657846, 1153, 1225),
        (1046575299, 1225, 1297),
        (2017735779, 1297, 2508),
    ];
    let mut s = Store::new();
    let mut got = Vec::new();
    for (i, _) in golden.iter().enumerate() {
        let (revision, count) = if i + 1 < golden.len() { (i as i64 * 71, 71) } else { (18 * 71, 1210) };
        put_all(&mut s, revision, count);
        got.push(hash_and_compact(&mut s, 0));
    }
    assert_eq!(got, golden);
}
