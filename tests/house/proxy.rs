//! The proxy of `deploy/docker-compose.yml`: its configuration is consistent and names services that the compose file has.
//! HAProxy itself is only there when compose is tested.

use std::collections::BTreeSet;
use std::fs;

use crate::sources::root;

/// The sections of a configuration of HAProxy: the words of each heading, and the lines below it, as words.
fn sections(text: &str) -> Vec<(Vec<&str>, Vec<Vec<&str>>)> {
    let mut sections: Vec<(Vec<&str>, Vec<Vec<&str>>)> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')) {
        let words = line.split_ascii_whitespace().collect();
        match (line.starts_with(' '), sections.last_mut()) {
            (true, Some((_, lines))) => lines.push(words),
            _ => sections.push((words, Vec::new())),
        }
    }
    sections
}

/// What is wrong with a configuration for these services.
fn mistakes(text: &str, services: &BTreeSet<&str>) -> Vec<String> {
    let sections = sections(text);
    let mut mistakes = Vec::new();
    let mut headings = BTreeSet::new();
    for (heading, lines) in &sections {
        if !headings.insert(heading.join(" ")) {
            mistakes.push(format!("there are two sections {}", heading.join(" ")));
        }
        let has = |keyword: &str| lines.iter().any(|words| words[0] == keyword);
        match heading[0] {
            "frontend" if !has("default_backend") => mistakes.push(format!("{} has no default_backend", heading[1])),
            "backend" if !has("server-template") => mistakes.push(format!("{} has no server-template", heading[1])),
            _ => {}
        }
        for words in lines {
            match words[..] {
                ["use_backend" | "default_backend", name, ..]
                    if !sections.iter().any(|(heading, _)| heading[..] == ["backend", name]) =>
                {
                    mistakes.push(format!("backend {name} is missing"));
                }
                ["server-template", _, _, address, ..] => {
                    let host = address.split(':').next().unwrap_or_default();
                    if !services.contains(host) {
                        mistakes.push(format!("no service is named {host}"));
                    }
                }
                _ => {}
            }
        }
    }
    mistakes
}

/// The services of a compose file, whose names are indented by two spaces.
fn services(compose: &str) -> BTreeSet<&str> {
    let section = compose.lines().skip_while(|line| *line != "services:").skip(1);
    let section = section.take_while(|line| line.is_empty() || line.starts_with([' ', '#']));
    section
        .filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':').filter(|name| !name.starts_with(' ')))
        .collect()
}

#[test]
fn the_proxy_is_configured_consistently() {
    let compose = fs::read_to_string(root().join("deploy/docker-compose.yml")).unwrap();
    let proxy = fs::read_to_string(root().join("deploy/config/haproxy.cfg")).unwrap();
    let services = services(&compose);
    assert!(services.contains("proxy") && services.contains("frontend"), "{services:?}");
    assert_eq!(mistakes(&proxy, &services), Vec::<String>::new());
}

#[test]
fn mistakes_are_found() {
    let services = BTreeSet::from(["a"]);
    let good = "frontend f\n  default_backend b\n\n# A comment.\nbackend b\n  server-template a 10 a:9090\n";
    assert!(mistakes(good, &services).is_empty());
    for (from, to, mistake) in [
        ("default_backend", "default_# ", "f has no default_backend"),
        ("backend b\n\n", "backend c\n\n", "backend c is missing"),
        ("a:9090", "z:9090", "no service is named z"),
        ("# A comment.", "backend b", "there are two sections backend b"),
    ] {
        assert!(mistakes(&good.replacen(from, to, 1), &services).contains(&mistake.to_string()), "{mistake}");
    }
}
