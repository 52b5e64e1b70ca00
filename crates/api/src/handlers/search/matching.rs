//! Which names match search terms, and how well: from 0 to 1, where 1 is a name that is or begins with a term.

/// How letters may be missing or wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// All letters of a term occur in their order. Letters that follow each other count more.
    Subsequence,
    /// The term occurs as it is, or the name is similar by Jaro and Winkler.
    JaroWinkler,
}

/// Only the first characters of long values are scored, which bounds the work for each.
const MAX_SCORED: usize = 2048;
/// Every score but that of an exact match stays below 1.
const INEXACT: f64 = 0.999;

/// The terms of a search, of which a name must match one.
pub(super) struct Terms {
    terms: Vec<String>,
    algorithm: Algorithm,
    threshold: f64,
    is_case_sensitive: bool,
}

impl Terms {
    /// Empty terms are ignored. `threshold` is the least score, from 0 to 1.
    pub(super) fn new(texts: &[&str], algorithm: Algorithm, threshold: f64, is_case_sensitive: bool) -> Self {
        let fold = |text: &&str| if is_case_sensitive { text.to_string() } else { text.to_lowercase() };
        let terms = texts.iter().filter(|text| !text.is_empty()).map(fold).collect();
        Terms { terms, algorithm, threshold, is_case_sensitive }
    }

    /// The best score of a name over all terms. `None` if it matches none. Without terms every name matches.
    pub(super) fn score(&self, name: &str) -> Option<f64> {
        if self.terms.is_empty() {
            return Some(1.0);
        }
        let folded;
        let name = match self.is_case_sensitive {
            true => name,
            false => {
                folded = name.to_lowercase();
                &folded
            }
        };
        self.terms.iter().filter_map(|term| self.score_of(term, name)).max_by(f64::total_cmp)
    }

    fn score_of(&self, term: &str, name: &str) -> Option<f64> {
        if name.starts_with(term) {
            return Some(1.0);
        }
        match self.algorithm {
            Algorithm::Subsequence => Some(subsequence(term, name)).filter(|s| *s > 0.0 && *s >= self.threshold),
            Algorithm::JaroWinkler => substring(term, name).or_else(|| {
                let is_fuzzy = self.threshold > 0.0;
                is_fuzzy.then(|| jaro_winkler(term, name)).filter(|score| *score >= self.threshold)
            }),
        }
    }
}

/// How early a term begins in a name: nearly 1 at its start, 0.1 at its end.
fn substring(term: &str, name: &str) -> Option<f64> {
    let at = name.find(term)?;
    let count = |text: &str| if text.is_ascii() { text.len() } else { text.chars().count() };
    let last = count(name).saturating_sub(count(term));
    Some(if last == 0 { 1.0 } else { 1.0 - 0.9 * count(&name[..at]) as f64 / last as f64 })
}

/// Calls a function with both texts as bytes, or as characters if one has others than ASCII's.
macro_rules! with_letters {
    ($function:ident, $a:expr, $b:expr) => {
        if $a.is_ascii() && $b.is_ascii() {
            $function($a.as_bytes(), &$b.as_bytes()[..$b.len().min(MAX_SCORED)])
        } else {
            let letters = |text: &str| text.chars().take(MAX_SCORED).collect::<Vec<char>>();
            $function(&letters($a), &letters($b))
        }
    };
}

fn subsequence(term: &str, name: &str) -> f64 {
    with_letters!(best_subsequence, term, name)
}

fn jaro_winkler(term: &str, name: &str) -> f64 {
    with_letters!(similarity, term, name)
}

/// The best score over all places where a match may begin. Matching is greedy from there, so the result may be below the optimum.
fn best_subsequence<T: PartialEq>(term: &[T], name: &[T]) -> f64 {
    let Some(last_start) = name.len().checked_sub(term.len()) else { return 0.0 };
    let mut best = -1.0;
    for start in (0..=last_start).filter(|start| name[*start] == term[0]) {
        // If the rest of the name does not have the term, neither does a shorter rest.
        let Some(score) = runs_from(term, name, start) else { break };
        best = f64::max(best, score);
    }
    if best < 0.0 { 0.0 } else { best / (term.len() * term.len()) as f64 * INEXACT }
}

/// The squares of the lengths of runs, less the gaps before them and half of what follows, both as shares of the name.
fn runs_from<T: PartialEq>(term: &[T], name: &[T], start: usize) -> Option<f64> {
    let length = name.len() as f64;
    let (mut score, mut matched, mut end) = (0.0, 0, 0);
    let mut at = start;
    while matched < term.len() {
        at += name[at..].iter().position(|letter| *letter == term[matched])?;
        let run = name[at..].iter().zip(&term[matched..]).take_while(|(a, b)| a == b).count();
        score += (run * run) as f64 - (at - end) as f64 / length;
        matched += run;
        at += run;
        end = at;
    }
    Some(score - (name.len() - end) as f64 / length / 2.0)
}

/// The similarity by Jaro, raised for up to four equal letters at the start as Winkler proposed.
fn similarity<T: PartialEq>(a: &[T], b: &[T]) -> f64 {
    let (short, long) = if a.len() <= b.len() { (a, b) } else { (b, a) };
    let reach = (long.len() / 2).saturating_sub(1);
    let mut is_used = vec![false; long.len()];
    let mut of_short = Vec::new();
    for (i, letter) in short.iter().enumerate() {
        let near = i.saturating_sub(reach)..(i + reach + 1).min(long.len());
        if let Some(at) = near.into_iter().find(|at| !is_used[*at] && long[*at] == *letter) {
            is_used[at] = true;
            of_short.push(letter);
        }
    }
    if of_short.is_empty() {
        return 0.0;
    }
    let of_long = long.iter().zip(&is_used).filter(|(_, is_used)| **is_used).map(|(letter, _)| letter);
    let moved = of_short.iter().zip(of_long).filter(|(a, b)| **a != *b).count() as f64;
    let same = of_short.len() as f64;
    let jaro = (same / short.len() as f64 + same / long.len() as f64 + (same - moved / 2.0) / same) / 3.0;
    let prefix = short.iter().zip(long).take(4).take_while(|(a, b)| a == b).count() as f64;
    jaro + prefix * 0.1 * (1.0 - jaro)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Algorithm, Terms};

    fn score(algorithm: Algorithm, threshold: f64, term: &str, name: &str) -> Option<f64> {
        Terms::new(&[term], algorithm, threshold, true).score(name)
    }

    fn subsequence(term: &str, name: &str) -> Option<f64> {
        score(Algorithm::Subsequence, 0.0, term, name)
    }

    #[test]
    fn a_name_that_begins_with_the_term_scores_one() {
        assert_eq!(subsequence("http", "http_requests_total"), Some(1.0));
        assert_eq!(score(Algorithm::JaroWinkler, 0.0, "http", "http_requests_total"), Some(1.0));
    }

    #[test]
    fn letters_in_order_match_and_runs_of_them_score_more() {
        let near = subsequence("httpdur", "http_duration_seconds").unwrap();
        let far = subsequence("httpdur", "h_t_t_p_d_u_r").unwrap();
        assert!(near > far, "{near} {far}");
        assert_eq!(subsequence("ptth", "http"), None);
        assert_eq!(subsequence("ab", "b"), None);
    }

    #[test]
    fn scores_follow_the_formula() {
        // Runs of 2 and 1, a gap of 1 before and 1 between them, 1 after, of 6 letters.
        let expected = (4.0 - 1.0 / 6.0 + 1.0 - 1.0 / 6.0 - 0.5 / 6.0) / 9.0 * 0.999;
        let found = subsequence("abc", "xab_c_").unwrap();
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }

    #[test]
    fn a_threshold_refuses_weak_matches() {
        assert_eq!(score(Algorithm::Subsequence, 0.9, "hd", "http_duration"), None);
        assert!(score(Algorithm::JaroWinkler, 0.8, "htpp_requests", "http_requests").is_some());
        assert_eq!(score(Algorithm::JaroWinkler, 0.0, "htpp_requests", "http_requests"), None);
    }

    #[test]
    fn known_similarities_are_found() {
        let found = score(Algorithm::JaroWinkler, 0.1, "MARTHA", "MARHTA").unwrap();
        assert!((found - 0.9611).abs() < 1e-4, "{found}");
        let found = score(Algorithm::JaroWinkler, 0.1, "DWAYNE", "DUANE").unwrap();
        assert!((found - 0.84).abs() < 1e-4, "{found}");
    }

    #[test]
    fn earlier_substrings_score_more() {
        let at = |name| score(Algorithm::JaroWinkler, 0.0, "cpu", name).unwrap();
        assert!(at("a_cpu_b_c") > at("a_b_c_cpu"));
        assert!((at("a_b_c_cpu") - 0.1).abs() < 1e-12);
    }

    #[test]
    fn case_is_folded_on_request_and_any_term_suffices() {
        let terms = Terms::new(&["NONE", "", "Http"], Algorithm::Subsequence, 0.0, false);
        assert_eq!(terms.score("HTTP_requests"), Some(1.0));
        assert_eq!(terms.score("other"), None);
        assert_eq!(Terms::new(&[""], Algorithm::Subsequence, 0.0, true).score("any"), Some(1.0));
    }

    #[test]
    fn long_values_are_scored_in_bounded_time() {
        let long = "a".repeat(1 << 20);
        assert_eq!(subsequence("aaaaab", &long), None);
        assert!(score(Algorithm::JaroWinkler, 0.01, &"ab".repeat(400), &long).is_some());
    }

    proptest! {
        #[test]
        fn scores_are_between_zero_and_one(term in "\\PC{1,12}", name in "\\PC{0,40}", percent in 0u8..=100) {
            for algorithm in [Algorithm::Subsequence, Algorithm::JaroWinkler] {
                if let Some(found) = score(algorithm, f64::from(percent) / 100.0, &term, &name) {
                    prop_assert!((0.0..=1.0 + 1e-12).contains(&found), "{found}");
                }
            }
        }
    }
}
