use super::*;

const MIB: usize = 1 << 20;

/// Writes a body of some MiB with a limit of 64 MiB.
fn write(body: &mut Vec<u8>, mib: usize, all: &'static Semaphore) -> std::io::Result<Share> {
    let mut bounded = Bounded { body, limit: 64 << UNIT_BITS, all, share: None };
    for _ in 0..mib {
        bounded.write_all(&[b'a'; MIB])?;
    }
    Ok(bounded.into_share())
}

#[test]
fn a_small_body_has_no_share() {
    static ALL: Semaphore = Semaphore::const_new(1);
    assert!(write(&mut Vec::new(), 8, &ALL).unwrap().is_none());
}

#[test]
fn a_large_body_is_reserved_at_once_and_holds_its_share() {
    static ALL: Semaphore = Semaphore::const_new(40);
    let mut body = Vec::new();
    let share = write(&mut body, 20, &ALL).unwrap();
    assert_eq!(body.len(), 20 * MIB);
    assert_eq!(body.capacity(), 64 * MIB);
    assert_eq!(ALL.available_permits(), 19);
    drop(share);
    assert_eq!(ALL.available_permits(), 40);
}

#[test]
fn large_bodies_together_have_a_limit() {
    static ALL: Semaphore = Semaphore::const_new(40);
    let _share = write(&mut Vec::new(), 20, &ALL).unwrap();
    let error = write(&mut Vec::new(), 20, &ALL).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    assert!(error.to_string().contains("body_size_limit"), "{error}");
    assert_eq!(ALL.available_permits(), 19, "a body that failed has no share");
}

#[test]
fn a_body_must_stay_below_its_limit() {
    static ALL: Semaphore = Semaphore::const_new(1);
    let mut body = Vec::new();
    let mut bounded = Bounded { body: &mut body, limit: 4, all: &ALL, share: None };
    bounded.write_all(b"abc").unwrap();
    assert_eq!(bounded.write_all(b"d").unwrap_err().kind(), ErrorKind::FileTooLarge);
    assert_eq!(body, b"abc");
}
