use super::*;

#[test]
fn a_label_with_the_name_of_a_column_is_not_a_column() {
    assert!(!is_column_name("sid", &["sid", "n"]));
    assert!(!is_column_name("SID", &["sid", "n"]), "for readers that ignore case");
    assert!(is_column_name("job", &["sid", "n"]));
}

#[test]
fn a_label_with_an_unusual_name_is_not_a_column() {
    for name in ["", "a.b", "a-b", "1a", "π", "a b"] {
        assert!(!is_column_name(name, &[]), "{name:?}");
    }
    assert!(is_column_name("__name__", &[]));
}

#[test]
fn column_positions_match_the_schemas() {
    let leaf = |schema: TypePtr, at: usize| {
        let descriptor = parquet::schema::types::SchemaDescriptor::new(schema);
        descriptor.column(at).path().string()
    };
    assert_eq!(leaf(data_schema(&[]).unwrap(), data::FIRST_T), "slice_t");
    assert_eq!(leaf(data_schema(&[]).unwrap(), data::VD), "vd.list.element");
    assert_eq!(leaf(series_schema(&[]).unwrap(), series::ROWS), "slices");
    assert_eq!(leaf(series_schema(&[]).unwrap(), series::MAP_VALUE), "labels.key_value.value");
    assert_eq!(leaf(series_schema(&["job".into()]).unwrap(), series::LABELS), "job");
    assert_eq!(leaf(ts_schema().unwrap(), ts::T), "t.list.element");
    assert_eq!(leaf(histograms_schema().unwrap(), histograms::BOUNDS), "bounds.list.element");
    assert_eq!(leaf(exemplars_schema().unwrap(), exemplars::MAP_KEY), "labels.key_value.key");
}

#[test]
fn all_properties_can_be_built() {
    for properties in
        [data_properties(), series_properties(), ts_properties(), histograms_properties(), exemplars_properties()]
    {
        properties.unwrap();
    }
}
