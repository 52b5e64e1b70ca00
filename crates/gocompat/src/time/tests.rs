use super::*;

fn moment() -> GoTime {
    GoTime::utc("2026-03-07T04:05:09.120456Z".parse().unwrap())
}

/// A layout with what Go prints in UTC and in New York.
struct Printed {
    layout: &'static str,
    utc: &'static str,
    new_york: &'static str,
}

const fn printed(layout: &'static str, utc: &'static str, new_york: &'static str) -> Printed {
    Printed { layout, utc, new_york }
}

const PRINTED: [Printed; 11] = [
    printed(RFC3339_NANO, "2026-03-07T04:05:09.120456Z", "2026-03-06T23:05:09.120456-05:00"),
    printed("Mon Jan _2 15:04:05 2006", "Sat Mar  7 04:05:09 2026", "Fri Mar  6 23:05:09 2026"),
    printed("Monday, 02-Jan-06 15:04:05 MST", "Saturday, 07-Mar-26 04:05:09 UTC", "Friday, 06-Mar-26 23:05:09 EST"),
    printed("Mon, 02 Jan 2006 15:04:05 -0700", "Sat, 07 Mar 2026 04:05:09 +0000", "Fri, 06 Mar 2026 23:05:09 -0500"),
    printed("3:04PM", "4:05AM", "11:05PM"),
    printed("Jan _2 15:04:05.000000", "Mar  7 04:05:09.120456", "Mar  6 23:05:09.120456"),
    printed("Jan _2 06 03:04PM -07", "Mar  7 26 04:05AM +00", "Mar  6 26 11:05PM -05"),
    printed("Monday, 2 January 2006 15h", "Saturday, 7 March 2026 04h", "Friday, 6 March 2026 23h"),
    printed("002 __2 .000 .999 ,00", "066  66 .120 .12 ,12", "065  65 .120 .12 ,12"),
    printed("Z07:00 -07:00:00 MST", "Z +00:00:00 UTC", "-05:00 -05:00:00 EST"),
    printed("x1y01z_2006 Janus 3pm 4 5", "x3y03z_2026 Janus 4am 5 9", "x3y03z_2026 Janus 11pm 5 9"),
];

#[test]
fn layouts_print_as_in_go() {
    let new_york = moment().in_location("America/New_York").unwrap();
    for Printed { layout, utc, new_york: there } in PRINTED {
        assert_eq!(moment().format(layout), utc, "{layout}");
        assert_eq!(new_york.format(layout), there, "{layout}");
    }
}

#[test]
fn times_print_as_in_go() {
    assert_eq!(moment().to_string(), "2026-03-07 04:05:09.120456 +0000 UTC");
    assert_eq!(GoTime::zero().to_string(), "0001-01-01 00:00:00 +0000 UTC");
    assert!(GoTime::zero().is_zero() && !moment().is_zero());
}

#[test]
fn unknown_locations_are_refused() {
    assert_eq!(moment().in_location("Mars/Olympus").unwrap_err(), "unknown time zone Mars/Olympus");
    assert_eq!(moment().in_location("UTC").unwrap(), moment());
}

#[track_caller]
fn read(layout: &str, text: &str, expected: &str) {
    let time = parse_time(layout, text).map(|time| time.format(RFC3339_NANO));
    assert_eq!(time.unwrap_or_else(|error| error), expected, "{layout} {text}");
}

#[test]
fn layouts_read_as_in_go() {
    read("2006-01-02", "2026-03-07", "2026-03-07T00:00:00Z");
    read("2006-01-02T15:04:05Z07:00", "2026-03-07T01:02:03.5+02:00", "2026-03-07T01:02:03.5+02:00");
    read("Jan 2, 2006 3:04PM", "mar 7, 2026 1:05PM", "2026-03-07T13:05:00Z");
    read("15:04", "9:00", "0000-01-01T09:00:00Z");
    read("2006-01-02 MST", "2026-03-07 UTC", "2026-03-07T00:00:00Z");
}

#[test]
fn faults_are_named_as_in_go() {
    read("2006-01-02", "2026-13-01", "parsing time \"2026-13-01\": month out of range");
    read("2006-01-02", "2026-02-30", "parsing time \"2026-02-30\": day out of range");
    read("2006", "2026x", "parsing time \"2026x\": extra text: \"x\"");
    read("2006", "x", "parsing time \"x\" as \"2006\": cannot parse \"x\" as \"2006\"");
}

#[test]
fn hostile_texts_are_only_refused() {
    for text in ["", "é", "99999999999999999999", "-", "2026-03-07T99:99:99Z", "+99:99"] {
        let _ = parse_time("2006-01-02T15:04:05Z07:00", text);
        let _ = parse_time(text, "2026-03-07");
        let _ = moment().format(text);
    }
}
