use super::*;

fn stored(file: &mut TsFile, t: &[i64]) -> VectorRef {
    file.store(t).unwrap()
}

fn reference(ts_id: i32, ts_off: i32) -> VectorRef {
    VectorRef { ts_id, ts_off }
}

#[test]
fn equal_vectors_are_stored_once() {
    let mut file = TsFile::new().unwrap();
    assert_eq!(stored(&mut file, &[1, 2, 3]), reference(0, 0));
    assert_eq!(stored(&mut file, &[4, 5, 6]), reference(1, 0));
    assert_eq!(stored(&mut file, &[1, 2, 3]), reference(0, 0));
}

#[test]
fn a_section_at_either_end_of_a_vector_is_found() {
    let mut file = TsFile::new().unwrap();
    stored(&mut file, &[1, 2, 3, 4, 5]);
    assert_eq!(stored(&mut file, &[1, 2, 3]), reference(0, 0));
    assert_eq!(stored(&mut file, &[3, 4, 5]), reference(0, 2));
    assert_eq!(stored(&mut file, &[5]), reference(0, 4));
}

#[test]
fn a_section_in_the_middle_is_stored_again() {
    let mut file = TsFile::new().unwrap();
    stored(&mut file, &[1, 2, 3, 4, 5]);
    assert_eq!(stored(&mut file, &[2, 3, 4]), reference(1, 0));
}

#[test]
fn vectors_with_equal_hashes_are_compared_in_full() {
    let mut file = TsFile::new().unwrap();
    // The hash sees the timestamps at positions 0, 33, 50, 75 and 99 only.
    let a: Vec<i64> = (0..100).map(|i| i * 10).collect();
    let mut b = a.clone();
    b[10] += 1;
    assert_eq!(hash_of(&a), hash_of(&b));
    assert_eq!(stored(&mut file, &a), reference(0, 0));
    assert_eq!(stored(&mut file, &b), reference(1, 0));
}

#[test]
fn a_vector_that_only_begins_like_another_is_stored() {
    let mut file = TsFile::new().unwrap();
    stored(&mut file, &[1, 2, 3]);
    assert_eq!(stored(&mut file, &[1, 2, 4]), reference(1, 0));
    assert_eq!(stored(&mut file, &[1, 2, 3, 4]), reference(2, 0));
}
