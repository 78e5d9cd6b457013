//! A corpus of files that somebody broke on purpose, each with what is said of it.

use std::ops::ControlFlow;

use super::super::{Database, Error, Meta, NO_FREELIST};
use super::forge::{Forge, inline_element, with_bucket_value};
use super::round_trip::findings;

/// What opening and reading all of a file's buckets ends with.
fn said(bytes: &[u8]) -> String {
    read(bytes).expect_err("the file is refused").to_string()
}

fn read(bytes: &[u8]) -> Result<(), Error> {
    let database = Database::open(bytes)?;
    for name in database.buckets()? {
        if let Some(bucket) = database.bucket(&name)? {
            bucket.scan(b"", &mut |_, _| ControlFlow::Continue(()))?;
        }
    }
    Ok(())
}

fn checked(bytes: &[u8]) -> Vec<String> {
    findings(&Database::open(bytes).expect("the file opens"))
}

/// A sound file, edited.
fn forged(edit: impl Fn(&mut Forge)) -> Forge {
    let mut forge = Forge::new();
    edit(&mut forge);
    forge
}

/// The root of `key`, a branch, and its first child, a leaf.
const KEY_LEAF: u64 = 2;

fn key_root() -> u64 {
    Forge::new().bucket_root(b"key")
}

#[test]
fn the_files_that_are_edited_are_sound() {
    for forge in [Forge::new(), Forge::nested(), Forge::new().with_freelist(1, &[Forge::new().pages()])] {
        read(&forge.bytes).expect("the file is read");
        assert_eq!(checked(&forge.bytes), [""; 0]);
    }
    let database = Forge::nested();
    let database = Database::open(&database.bytes).expect("the file opens");
    let outer = database.bucket(b"outer").expect("the root is read").expect("the bucket is there");
    assert_eq!(outer.buckets().expect("the bucket is read"), [b"inner".as_slice(), b"inner inline"]);
    let inner = outer.bucket(b"inner").expect("the bucket is read").expect("the bucket is there");
    assert_eq!((inner.sequence(), inner.get(b"059").expect("the bucket is read").map(|value| value.len())), (7, Some(30)));
    let inline = outer.bucket(b"inner inline").expect("the bucket is read").expect("the bucket is there");
    assert_eq!(inline.get(b"k").expect("the bucket is read").as_deref(), Some(b"v".as_slice()));
}

#[test]
fn what_is_no_database_is_refused() {
    let nothing = "not a bbolt database: of its first meta page, it lies beyond the end of the file; and of its second, it lies beyond the end of the file";
    assert_eq!(said(b""), nothing);
    assert_eq!(said(&[0; 79]), nothing);
    let zeros = "not a bbolt database: of its first meta page, it has no magic number; and of its second, it has no magic number";
    assert_eq!(said(&[0; 100_000]), zeros);
}

#[test]
fn one_meta_is_enough_and_two_bad_ones_are_not() {
    for page in [0, 1] {
        let forge = forged(|forge| forge.put_u64(page, 64, 9));
        read(&forge.bytes).expect("the other meta is sound");
    }
    let both = forged(|forge| (0..2).for_each(|page| forge.put_u64(page, 64, 9)));
    let wanted = "of its first meta page, its checksum does not match; and of its second, its checksum does not match";
    assert_eq!(said(&both.bytes), format!("not a bbolt database: {wanted}"));
    let version = forged(|forge| (0..2).for_each(|page| forge.put_u32(page, 20, 3)));
    assert!(said(&version.bytes).contains("it is of version 3, and only 2 is known"));
    for page_size in [0, 1023, 3000, 1 << 20] {
        let size = forged(|forge| forge.meta(|meta| meta.page_size = page_size));
        assert!(said(&size.bytes).contains(&format!("its page size {page_size} is no power of two")), "{page_size}");
    }
}

#[test]
fn the_newer_of_two_valid_metas_counts() {
    for (first, second, newest) in [(5, 4, 5), (6, 7, 7), (3, 3, 3)] {
        let mut forge = Forge::new();
        forge.meta(|meta| meta.txid = if meta.txid == 2 { first } else { second });
        assert_eq!(Database::open(&forge.bytes).expect("the file opens").meta().txid, newest);
    }
}

#[test]
fn a_file_without_its_end_is_refused() {
    let forge = Forge::new();
    let len = forge.bytes.len();
    let wanted = format!(
        "page 0, byte 56: the file ends at byte {}, but its meta page counts {} pages, which is {len} bytes: the end is missing",
        len - 1,
        forge.pages()
    );
    assert_eq!(said(&forge.bytes[..len - 1]), wanted);
    let huge = forged(|forge| forge.meta(|meta| meta.pages = u64::MAX));
    assert!(said(&huge.bytes).ends_with("counts 18446744073709551615 pages, which is 18889465931478580853760 bytes: the end is missing"));
    // What follows the pages that count is not looked at.
    let longer = [forge.bytes.as_slice(), &[7; 32]].concat();
    read(&longer).expect("the file is read");
}

#[test]
fn a_meta_that_names_pages_beyond_the_end_is_refused() {
    let pages = Forge::new().pages();
    for to in [0, 1, pages, u64::MAX - 1] {
        let named = |change: fn(&mut Meta, u64)| said(&forged(|forge| forge.meta(|meta| change(meta, to))).bytes);
        let wanted = format!("it refers to page {to}, but pages of data are 2 to {}", pages - 1);
        assert_eq!(named(|meta, to| meta.root = to), format!("page 0, byte 32: {wanted}"));
        assert_eq!(named(|meta, to| meta.freelist = to), format!("page 0, byte 48: {wanted}"));
    }
}

#[test]
fn each_field_of_a_page_that_is_wrong_is_named() {
    let root = key_root();
    let (pages, size) = (Forge::new().pages(), 1024);
    let last = pages - 1;
    let first = 16 + 16 * u64::from(Forge::new().u16(KEY_LEAF, 10));
    type Edit = Box<dyn Fn(&mut Forge)>;
    let cases: Vec<(Edit, String)> = vec![
        (Box::new(|forge| forge.put_u64(KEY_LEAF, 0, 3)), "page 2, byte 2048: it says that it is page 3".into()),
        (
            Box::new(|forge| forge.put_u16(KEY_LEAF, 8, 0x10)),
            "page 2, byte 2056: it is no branch or leaf page: its flags are 0x0010".into(),
        ),
        (
            Box::new(|forge| forge.put_u16(KEY_LEAF, 10, u16::MAX)),
            "page 2, byte 2058: it counts 65535 elements, more than its 1024 bytes can hold".into(),
        ),
        (
            Box::new(move |forge| forge.put_u16(root, 10, 0)),
            format!("page {root}, byte {}: a branch page without children", root * size + 10),
        ),
        (
            Box::new(|forge| forge.put_u32(KEY_LEAF, 12, u32::MAX)),
            format!("page 2, byte 2060: it claims 4294967295 pages after it, but the file's last page is {last}"),
        ),
        (
            Box::new(|forge| forge.put_u32(KEY_LEAF, 20, 0)),
            format!("page 2, byte 2064: element 0 lies at bytes 16 to 64 of the page, outside of {first} to 1024"),
        ),
        (
            Box::new(|forge| forge.put_u32(KEY_LEAF, 24, u32::MAX)),
            format!(
                "page 2, byte 2064: element 0 lies at bytes {first} to {} of the page, outside of {first} to 1024",
                first + 0xFFFF_FFFF + 40
            ),
        ),
        (
            Box::new(|forge| forge.put_u32(KEY_LEAF, 28, 1000)),
            format!("page 2, byte 2064: element 0 lies at bytes {first} to {} of the page, outside of {first} to 1024", first + 1008),
        ),
        (
            // The second element over the first one.
            Box::new(move |forge| forge.put_u32(KEY_LEAF, 36, first as u32 - 32)),
            format!("page 2, byte 2080: element 1 lies at bytes {first} to {} of the page, outside of {} to 1024", first + 48, first + 48),
        ),
        (Box::new(|forge| forge.put_u32(KEY_LEAF, 24, 0)), "page 2, byte 2064: element 0 has an empty key".into()),
        (Box::new(move |forge| forge.put(KEY_LEAF, first, b"zzz ")), "page 2, byte 2080: key 1 is not above the key before it".into()),
        (
            Box::new(move |forge| forge.put(KEY_LEAF, first, b"key !")),
            "page 2, byte 2048: its keys are not between the keys that the page above it says".into(),
        ),
        (
            Box::new(move |forge| forge.put_u64(root, 24, 1)),
            format!("page {root}, byte {}: it refers to page 1, but pages of data are 2 to {last}", root * size + 24),
        ),
        (
            Box::new(move |forge| forge.put_u64(root, 24, 3)),
            "page 3, byte 3072: its keys are not between the keys that the page above it says".into(),
        ),
    ];
    for (edit, wanted) in cases {
        assert_eq!(said(&forged(edit).bytes), wanted);
    }
}

#[test]
fn pages_in_a_circle_end_a_walk() {
    let root = key_root();
    // Two children swapped for the root itself: the keys do not fit.
    let wide = forged(|forge| forge.put_u64(root, 24, root));
    assert!(said(&wide.bytes).ends_with("its keys are not between the keys that the page above it says"));
    // With one child everything fits, for ever.
    let narrow = forged(|forge| {
        forge.put_u64(root, 24, root);
        forge.put_u16(root, 10, 1);
    });
    let turned = said(&narrow.bytes);
    let wanted =
        format!("page {root}, byte {}: more pages are referred to than the file has: pages form a cycle or overlap", root * 1024 + 24);
    assert_eq!(turned, wanted);
    assert!(checked(&narrow.bytes).contains(&format!("page {root}, byte {}: page {root} is referred to more than once", root * 1024 + 24)));
}

#[test]
fn a_tree_that_is_too_deep_ends_a_walk() {
    // Pages 2, 3, 4 ... each with the next as its only child.
    let mut forge = Forge::new();
    let pages = 200;
    forge.bytes.resize(1024 * pages as usize, 0);
    forge.meta(|meta| (meta.pages, meta.root) = (pages, 2));
    for page in 2..pages {
        forge.put_u64(page, 0, page);
        forge.put_u16(page, 8, 1);
        forge.put_u16(page, 10, 1);
        forge.put_u32(page, 12, 0);
        forge.put_u32(page, 16, 16);
        forge.put_u32(page, 20, 1);
        forge.put_u64(page, 24, page + 1);
        forge.put(page, 32, b"k");
    }
    assert_eq!(said(&forge.bytes), "page 66, byte 67584: more than 64 levels deep");
    assert_eq!(checked(&forge.bytes)[0], "page 66, byte 67584: more than 64 levels deep");
}

#[test]
fn pages_that_overlap_are_found() {
    // The first leaf claims the second one as its own.
    let forge = forged(|forge| forge.put_u32(KEY_LEAF, 12, 1));
    let found = checked(&forge.bytes);
    let root = key_root();
    assert_eq!(found, [format!("page {root}, byte {}: page 3 is referred to more than once", root * 1024 + 40)]);
    // All leaves claim all that follows: a walk reads no more than the file.
    let greedy = forged(|forge| {
        let pages = forge.pages();
        (2..root).for_each(|page| forge.put_u32(page, 12, (pages - page - 1) as u32));
    });
    let wanted =
        format!("page {root}, byte {}: more pages are referred to than the file has: pages form a cycle or overlap", root * 1024 + 24);
    assert_eq!(said(&greedy.bytes), wanted);
}

#[test]
fn a_bucket_that_two_names_share_is_found() {
    let root = Forge::new().root();
    let forge = forged(|forge| {
        let (key, _) = forge.leaf_element(root, 0);
        let (large, len) = forge.leaf_element(root, 1);
        let id = forge.at(root, key + 3)[..8].to_vec();
        forge.put(root, large + u64::from(len), &id);
    });
    let place = forge.leaf_element(root, 1).0 + 5;
    let wanted = format!("page {root}, byte {}: page {} is referred to more than once", root * 1024 + place, key_root());
    assert_eq!(checked(&forge.bytes), [wanted]);
}

#[test]
fn a_bucket_that_is_none_is_refused() {
    let refused = |value: &[u8]| {
        let forge = with_bucket_value(value);
        let database = Database::open(&forge.bytes).expect("the file opens");
        let outer = database.bucket(b"outer").expect("the root is read").expect("the bucket is there");
        let error = outer.bucket(b"deep").map(|_| ()).expect_err("the bucket is refused").to_string();
        assert_eq!(findings(&database), [error.as_str()]);
        error.split_once(": ").expect("a place").1.to_owned()
    };
    assert_eq!(refused(&[1; 15]), "the value of the bucket element 0 has 15 bytes, too few for a bucket");
    assert_eq!(refused(&[0; 31]), "the value of the bucket element 0 has 31 bytes, too few for a bucket");
    assert_eq!(refused(&[0; 32]), "it is no leaf page: its flags are 0x0000");
    let mut inline = inline_element(0, b"k", b"v");
    inline[26] = 9;
    assert_eq!(refused(&inline), "it counts 9 elements, more than its 34 bytes can hold");
    inline[26] = 1;
    inline[40] = 200;
    assert_eq!(refused(&inline), "element 0 lies at bytes 32 to 233 of the page, outside of 32 to 34");
}

#[test]
fn buckets_inside_of_buckets_without_end_are_refused() {
    let mut value = inline_element(0, b"k", b"v");
    for _ in 0..20_000 {
        value = inline_element(1, b"k", &value);
    }
    let found = checked(&with_bucket_value(&value).bytes);
    assert_eq!(found.len(), 1);
    assert!(found[0].ends_with("more than 64 levels deep"), "{found:?}");
}

#[test]
fn a_free_list_that_is_wrong_is_found() {
    let pages = Forge::new().pages();
    let list = pages + 1;
    let said = |count: u16, numbers: &[u64]| checked(&Forge::new().with_freelist(count, numbers).bytes);
    let here = format!("page {list}, byte {}", list * 1024);
    let lost = format!("page {pages}, byte {}: page {pages} is neither in use nor in the free list", pages * 1024);
    assert_eq!(said(1, &[pages]), [""; 0]);
    assert_eq!(said(u16::MAX, &[1, pages]), [""; 0]);
    assert_eq!(said(0, &[]), [lost.as_str()]);
    assert_eq!(said(2, &[pages, pages]), [format!("{here}: page {pages} is twice in the free list")]);
    assert_eq!(said(2, &[2, pages]), [format!("{here}: page 2 is in use and in the free list")]);
    assert_eq!(said(2, &[pages, list]), [format!("{here}: page {list} is in use and in the free list")]);
    for id in [0, 1, pages + 2, u64::MAX] {
        assert_eq!(said(2, &[pages, id]), [format!("{here}: the free list names page {id}, but pages of data are 2 to {list}")]);
    }
    let too_many =
        |count: u64| format!("page {list}, byte {}: it counts {count} elements, more than its 1024 bytes can hold", list * 1024 + 10);
    assert_eq!(said(200, &[]), [too_many(200)]);
    assert_eq!(said(u16::MAX, &[u64::MAX]), [too_many(u64::MAX)]);
    let mut forge = Forge::new().with_freelist(1, &[pages]);
    forge.put_u16(list, 8, 2);
    assert_eq!(checked(&forge.bytes), [format!("page {list}, byte {}: it is no free list page: its flags are 0x0002", list * 1024 + 8)]);
}

#[test]
fn a_list_that_is_not_stored_leaves_no_page_lost() {
    let mut forge = Forge::new();
    forge.bytes.extend([0; 4096]);
    let pages = forge.pages();
    forge.meta(|meta| (meta.pages, meta.freelist) = (pages, NO_FREELIST));
    assert_eq!(checked(&forge.bytes), [""; 0]);
}

#[test]
fn a_source_that_fails_is_named_with_the_place() {
    struct Failing(Vec<u8>);
    impl super::super::ReadAt for Failing {
        fn len(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
            if offset == 2048 { Err(std::io::Error::other("worn out")) } else { self.0.as_slice().read_at(offset, buf) }
        }
    }
    let database = Database::open(Failing(Forge::new().bytes)).expect("the file opens");
    let bucket = database.bucket(b"key").expect("the root is read").expect("the bucket is there");
    let wanted = "page 2, byte 2048: cannot read: worn out";
    assert_eq!(bucket.get(b"key 0000").expect_err("the disk fails").to_string(), wanted);
    assert_eq!(database.check(&mut |finding| panic!("{finding}")).expect_err("the disk fails").to_string(), wanted);
}
