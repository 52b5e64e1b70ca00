use pharos_model::memory::MemoryLimits;
use pharos_model::{MemoryAccount, Purpose, TenantId};

use super::*;

const MIB: usize = 1 << 20;

/// The hold of a scrape where all requests may have some MiB.
fn hold(mib: u64) -> Hold {
    let limits = MemoryLimits { all: mib << 20, ..MemoryLimits::unlimited() };
    MemoryAccount::new(limits).open(&TenantId::default(), Purpose::Scrape)
}

/// Writes a body of some MiB with a limit of 64 MiB.
fn write(body: &mut Vec<u8>, mib: usize, hold: &Hold) -> std::io::Result<()> {
    let mut bounded = Bounded::new(body, 64 << 20, Some(hold));
    (0..mib).try_for_each(|_| bounded.write_all(&[b'a'; MIB]))
}

#[test]
fn a_large_body_is_reserved_at_once_but_drawn_as_it_grows() {
    let (hold, mut body) = (hold(40), Vec::new());
    write(&mut body, 20, &hold).unwrap();
    assert_eq!((body.len(), body.capacity(), hold.bytes()), (20 * MIB, 64 * MIB, 20 << 20));
}

#[test]
fn a_body_that_does_not_fit_into_the_account_fails_with_the_name_of_the_limit() {
    let error = write(&mut Vec::new(), 20, &hold(19)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    assert!(error.to_string().contains("max_request_memory"), "{error}");
}

#[test]
fn small_writes_are_drawn_in_steps() {
    let (hold, mut body) = (hold(1), Vec::new());
    let mut bounded = Bounded::new(&mut body, 64 << 20, Some(&hold));
    bounded.write_all(b"a").unwrap();
    bounded.write_all(b"b").unwrap();
    assert_eq!(hold.bytes(), STEP as u64);
}

#[test]
fn a_body_must_stay_below_its_limit() {
    let mut body = Vec::new();
    let mut bounded = Bounded::new(&mut body, 4, None);
    bounded.write_all(b"abc").unwrap();
    assert_eq!(bounded.write_all(b"d").unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(body, b"abc");
}
