use super::*;

fn interval(yaml: &str) -> TimeInterval {
    serde_saphyr::from_str(yaml).unwrap_or_else(|error| panic!("{yaml}: {error}"))
}

fn contains(yaml: &str, moment: &str) -> bool {
    interval(yaml).contains(moment.parse().unwrap())
}

#[test]
fn an_interval_without_ranges_contains_every_moment() {
    assert!(contains("{}", "2026-11-30T12:00:00Z"));
}

#[test]
fn a_part_of_a_day_ends_before_its_last_minute() {
    let office = "times: [{start_time: '09:00', end_time: '17:00'}]";
    for (moment, expected) in [("08:59:59", false), ("09:00:00", true), ("16:59:59", true), ("17:00:00", false)] {
        assert_eq!(contains(office, &format!("2026-11-30T{moment}Z")), expected, "{moment}");
    }
    assert!(contains("times: [{start_time: '23:00', end_time: '24:00'}]", "2026-11-30T23:59:59Z"));
}

#[test]
fn days_of_the_week_may_go_around_its_end() {
    // 2026-11-30 is a Monday.
    let weekend = "weekdays: ['friday:monday']";
    assert!(contains(weekend, "2026-11-30T12:00:00Z") && contains(weekend, "2026-11-29T12:00:00Z"));
    assert!(!contains(weekend, "2026-12-01T12:00:00Z"));
    assert!(contains("weekdays: [Monday]", "2026-11-30T12:00:00Z"));
}

#[test]
fn negative_days_count_from_the_end_of_the_month() {
    let last_two = "days_of_month: ['-2:-1']";
    assert!(contains(last_two, "2026-11-29T12:00:00Z") && contains(last_two, "2028-02-29T12:00:00Z"));
    assert!(!contains(last_two, "2026-11-28T12:00:00Z"));
    // February has no 31st that could be moved to the 28th.
    assert!(!contains("days_of_month: [31]", "2026-02-28T12:00:00Z"));
    assert!(contains("days_of_month: ['20:-1']", "2026-02-28T12:00:00Z"));
}

#[test]
fn months_and_years_are_ranges_too() {
    let interval = "{months: ['may:august', 12], years: ['2020:2022', 2026]}";
    assert!(contains(interval, "2026-12-01T12:00:00Z") && contains(interval, "2021-08-31T12:00:00Z"));
    assert!(!contains(interval, "2026-11-30T12:00:00Z") && !contains(interval, "2023-06-01T12:00:00Z"));
}

#[test]
fn clocks_of_the_location_count() {
    let office = "{location: Australia/Sydney, times: [{start_time: '09:00', end_time: '17:00'}]}";
    assert!(contains(office, "2026-11-29T22:00:00Z"));
    assert!(!contains(office, "2026-11-30T12:00:00Z"));
}

#[test]
fn what_is_printed_is_read_to_the_same() {
    let written = interval(
        "{times: [{start_time: '09:05', end_time: '24:00'}], weekdays: [monday, 'friday:sunday'], \
         days_of_month: ['1:-1'], months: [may], years: ['2020:2022'], location: Europe/Berlin}",
    );
    let printed = serde_saphyr::to_string(&written).unwrap();
    assert_eq!(interval(&printed), written, "{printed}");
}

#[test]
fn mistakes_are_refused_in_the_words_of_alertmanager() {
    for (yaml, error) in [
        ("weekdays: [moonday]", "moonday is not a valid weekday"),
        ("weekdays: ['a:b:c']", "couldn't parse range a:b:c, invalid format"),
        ("days_of_month: [0]", "0 is not a valid day of the month: out of range"),
        ("days_of_month: ['-5:5']", "end day must be negative if start day is negative"),
        ("days_of_month: ['10:5']", "end day 5 is always before start day 10"),
        ("months: [13]", "13 is not a valid month: out of range"),
        ("months: ['august:may']", "end month may is before start month august"),
        ("years: ['2022:2020']", "end year 2020 is before start year 2022"),
        ("times: [{start_time: '17:00', end_time: '09:00'}]", "start time cannot be equal or greater than end time"),
        ("times: [{start_time: '17:00'}]", "both start and end times must be provided"),
        ("times: [{start_time: '1:00', end_time: '09:00'}]", "couldn't parse timestamp 1:00, invalid format"),
        ("location: Nowhere/Land", "unknown time zone Nowhere/Land"),
    ] {
        let text = serde_saphyr::from_str::<TimeInterval>(yaml).unwrap_err().to_string();
        assert!(text.contains(error), "{yaml}: {text}");
    }
}
