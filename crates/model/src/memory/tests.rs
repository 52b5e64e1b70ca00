use proptest::prelude::*;

use super::*;

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

fn account(all: u64, of_a_tenant: u64) -> Arc<MemoryAccount> {
    MemoryAccount::new(MemoryLimits { all, of_a_tenant, ..MemoryLimits::unlimited() })
}

#[test]
fn a_tenant_has_no_more_than_its_share() {
    let account = account(100, 60);
    let (first, second) = (account.open(&tenant("a"), Purpose::Query), account.open(&tenant("a"), Purpose::Push));
    first.draw(40).unwrap();
    let full = second.draw(21).unwrap_err();
    assert!(full.is_of_tenant());
    assert_eq!(
        full.to_string(),
        "requests of tenant a hold 40 bytes and this one needs 21 more, over the limit max_request_memory of the tenant, 60 bytes"
    );
    second.draw(20).unwrap();
    assert_eq!((account.held(), account.held_for(Purpose::Push), account.refused()), (60, 20, 1));
}

#[test]
fn all_tenants_together_have_no_more_than_the_account() {
    let account = account(100, 60);
    let holds = ["a", "b"].map(|name| account.open(&tenant(name), Purpose::Query));
    holds[0].draw(60).unwrap();
    let full = holds[1].draw(41).unwrap_err();
    assert_eq!((full.exceeded, full.held, full.limit), (Exceeded::All, 60, 100));
    holds[1].draw(40).unwrap();
}

#[test]
fn a_purpose_has_no_more_than_its_share() {
    let account = MemoryAccount::new(MemoryLimits { responses: 10, ..MemoryLimits::unlimited() });
    let hold = account.open(&tenant("a"), Purpose::Response);
    hold.draw(10).unwrap();
    assert!(hold.draw(1).unwrap_err().to_string().ends_with("over the limit --web.max-unsent-bytes, 10 bytes"));
    account.open(&tenant("a"), Purpose::Query).draw(1000).unwrap();
}

#[test]
fn a_refused_draw_draws_nothing() {
    let account = account(100, 200);
    let hold = account.open(&tenant("a"), Purpose::Push);
    hold.draw(60).unwrap();
    assert!(hold.draw(u64::MAX).is_err(), "the sum overflows");
    assert!(hold.draw(41).is_err());
    assert_eq!((hold.bytes(), account.held(), account.held_for(Purpose::Push)), (60, 60, 60));
}

#[test]
fn dropped_holds_return_their_bytes_and_tenants_without_holds_are_forgotten() {
    let account = account(100, 100);
    let (first, second) = (account.open(&tenant("a"), Purpose::Push), account.open(&tenant("a"), Purpose::Push));
    first.draw(60).unwrap();
    second.draw(40).unwrap();
    second.give_back(10);
    drop(first);
    assert_eq!((account.held(), account.shares().len()), (30, 1));
    drop(second);
    assert_eq!((account.held(), account.shares().len()), (0, 0));
}

#[test]
fn limits_of_tenants_change_for_holds_that_are_open() {
    let account = account(100, 10);
    let (a, b) = (account.open(&tenant("a"), Purpose::Query), account.open(&tenant("b"), Purpose::Query));
    account.set_tenant_limits(20, HashMap::from([(tenant("b"), 5)]));
    assert!(a.draw(20).is_ok() && b.draw(6).is_err() && b.draw(5).is_ok());
}

proptest! {
    #[test]
    fn the_counters_are_the_sums_of_the_holds(
        steps in prop::collection::vec((0..3usize, 0..4usize, 0..4u8, 0..50u64), 0..200)
    ) {
        let account = MemoryAccount::new(MemoryLimits {
            all: 100, of_a_tenant: 70, pushes: 30, responses: 40, own: HashMap::new(),
        });
        let mut holds: Vec<Hold> = Vec::new();
        for (name, purpose, step, bytes) in steps {
            match step {
                0 => holds.push(account.open(&tenant(["a", "b", "c"][name]), Purpose::ALL[purpose])),
                1 if !holds.is_empty() => drop(holds.swap_remove(bytes as usize % holds.len())),
                _ => if let Some(hold) = holds.last() {
                    let _may_be_refused = hold.draw(bytes);
                },
            }
            let of = |is_counted: &dyn Fn(&Hold) -> bool| -> u64 {
                holds.iter().filter(|hold| is_counted(hold)).map(Hold::bytes).sum()
            };
            prop_assert_eq!(account.held(), of(&|_| true));
            prop_assert!(account.held() <= 100);
            for purpose in Purpose::ALL {
                prop_assert_eq!(account.held_for(purpose), of(&|hold| hold.purpose == purpose));
            }
            for (share, _) in account.shares().values() {
                prop_assert!(share.held.get() <= 70);
                prop_assert_eq!(share.held.get(), of(&|hold| hold.share.tenant == share.tenant));
            }
        }
        drop(holds);
        prop_assert!(account.held() == 0 && account.shares().is_empty());
    }
}
