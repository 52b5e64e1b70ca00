use super::*;

fn checked(json: &str) -> Result<OtlpConfig, OtlpConfigError> {
    serde_json::from_str::<OtlpConfig>(json).unwrap().checked()
}

#[test]
fn an_empty_section_has_the_defaults() {
    assert_eq!(checked("{}"), Ok(OtlpConfig::default()));
}

#[test]
fn promoting_all_and_some_attributes_is_rejected() {
    let json = r#"{"promote_all_resource_attributes": true, "promote_resource_attributes": ["a"]}"#;
    assert_eq!(checked(json), Err(OtlpConfigError::AllAndSome));
}

#[test]
fn ignoring_attributes_needs_the_promotion_of_all() {
    assert_eq!(checked(r#"{"ignore_resource_attributes": ["a"]}"#), Err(OtlpConfigError::IgnoredWithoutAll));
}

#[test]
fn a_repeated_attribute_is_rejected_after_trimming() {
    assert_eq!(
        checked(r#"{"promote_resource_attributes": ["a", " a "]}"#),
        Err(OtlpConfigError::Duplicate("promote_resource_attributes", "a".into()))
    );
}

#[test]
fn an_empty_attribute_is_rejected() {
    assert_eq!(
        checked(r#"{"promote_resource_attributes": [" "]}"#),
        Err(OtlpConfigError::Empty("promote_resource_attributes"))
    );
}

#[test]
fn errors_name_the_list_that_is_wrong() {
    let json = r#"{"promote_all_resource_attributes": true, "ignore_resource_attributes": [""]}"#;
    let error = checked(json).unwrap_err().to_string();
    assert_eq!(error, "invalid 'ignore_resource_attributes': empty OTel resource attribute");
}

#[test]
fn all_attributes_but_the_ignored_ones_are_promoted() {
    let json = r#"{"promote_all_resource_attributes": true, "ignore_resource_attributes": ["a"]}"#;
    let config = checked(json).unwrap();
    assert!(config.promotes("b"));
    assert!(!config.promotes("a"));
}

#[test]
fn only_named_attributes_are_promoted_by_default() {
    let config = checked(r#"{"promote_resource_attributes": ["a"]}"#).unwrap();
    assert!(config.promotes("a"));
    assert!(!config.promotes("b"));
}

#[test]
fn strategies_decide_on_escaping_and_on_suffixes() {
    use TranslationStrategy::*;
    let escaping = [UnderscoreEscapingWithSuffixes, UnderscoreEscapingWithoutSuffixes];
    let suffixing = [UnderscoreEscapingWithSuffixes, NoUTF8EscapingWithSuffixes];
    let all =
        [UnderscoreEscapingWithSuffixes, UnderscoreEscapingWithoutSuffixes, NoUTF8EscapingWithSuffixes, NoTranslation];
    for strategy in all {
        assert_eq!(strategy.escapes(), escaping.contains(&strategy), "{strategy:?}");
        assert_eq!(strategy.adds_suffixes(), suffixing.contains(&strategy), "{strategy:?}");
    }
}
