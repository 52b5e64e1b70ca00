use super::*;

#[test]
fn the_table_is_sorted_by_name() {
    assert!(TABLE.windows(2).all(|rows| rows[0].name < rows[1].name));
}

#[test]
fn every_function_is_found_by_its_name() {
    for function in Function::ALL {
        assert_eq!(Function::from_name(function.name()), Some(*function));
    }
}

#[test]
fn names_are_case_sensitive() {
    assert_eq!(Function::from_name("RATE"), None);
    assert_eq!(Function::from_name("Rate"), None);
}

#[test]
fn unknown_names_are_not_functions() {
    for name in ["", "zzz", "rat", "rates", "sum"] {
        assert_eq!(Function::from_name(name), None, "{name}");
    }
}
