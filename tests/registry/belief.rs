//! What a replica believes while others write, remove and list.

use std::sync::Arc;
use std::time::Duration;

use longshore::metrics::Metrics;
use longshore::registry::{Asker, Belief, Registry, RegistryError};
use longshore::store::{ObjectStore, StoreError};

use crate::broken_store::Operation::{Delete, Finish, Get, Head, List, Put, Touch};
use crate::broken_store::unavailable;
use crate::harbour::{Harbour, PATIENCE, digest, key};

const MINUTE: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn what_was_pushed_here_is_known_without_a_question() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    one.push("layer").await;

    assert!(one.has("layer").await && one.has_for_others("layer").await);

    assert_eq!(harbour.calls(&[Head, List, Get]), 0);
}

#[tokio::test(start_paused = true)]
async fn a_whole_image_is_known_after_one_listing_and_what_is_new_in_it_for_a_minute() {
    let harbour = Harbour::new();
    let (one, other) = (harbour.replica(), harbour.replica());
    for layer in ["one", "two", "three"] {
        other.push(layer).await;
    }

    for layer in ["one", "two", "three"] {
        assert!(one.has(layer).await, "{layer}");
        assert!(!one.has(&format!("new {layer}")).await);
    }

    assert_eq!((harbour.calls(&[List]), harbour.calls(&[Head])), (1, 0));
    tokio::time::advance(MINUTE + TICK).await;
    assert!(one.has("one").await && !one.has("new").await);
    assert_eq!((harbour.calls(&[List]), harbour.calls(&[Head])), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_cost_one_listing_and_it_goes_on_when_the_first_leaves() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    one.push("layer").await;
    let cold = harbour.replica();
    let list = harbour.store.when(List).pause();

    let first = tokio::time::timeout(TICK, cold.has("layer"));
    assert!(first.await.is_err(), "the listing has not come");
    let others = futures_util::future::join_all((0..100).map(|_| cold.has("layer")));
    let (others, ()) = tokio::join!(others, async {
        list.arrived().await;
        list.release();
    });

    assert!(others.into_iter().all(|is_there| is_there));
    assert_eq!((harbour.calls(&[List]), harbour.calls(&[Head])), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_stale_positive_is_believed_for_its_time_and_no_longer() {
    let harbour = Harbour::new();
    let (one, other) = (harbour.replica(), harbour.replica());
    one.push("layer").await;
    assert!(other.remove("layer").await);

    tokio::time::advance(MINUTE * 10).await;
    assert!(one.has("layer").await, "advice, not evidence");
    tokio::time::advance(TICK).await;
    assert!(!one.has("layer").await && !one.has_for_others("layer").await);
}

#[tokio::test(start_paused = true)]
async fn a_stale_positive_ends_at_once_when_a_get_finds_nothing() {
    let harbour = Harbour::new();
    let (one, other) = (harbour.replica(), harbour.replica());
    one.push("layer").await;
    assert!(other.remove("layer").await);

    assert!(!one.reads("layer").await);

    assert!(!one.has("layer").await && !one.has_for_others("layer").await);
}

#[tokio::test(start_paused = true)]
async fn a_stale_negative_costs_a_push_an_upload_and_nobody_else_anything() {
    let harbour = Harbour::new();
    let (one, other) = (harbour.replica(), harbour.replica());
    assert!(!one.has("layer").await, "listed");
    other.push("layer").await;

    assert!(!one.has("layer").await, "it may send it again");
    one.push_image("image", &["layer"]).await.unwrap();
    assert!(one.reads("layer").await);
    assert!(one.has("layer").await, "seen by then");
}

#[tokio::test(start_paused = true)]
async fn a_stale_negative_is_none_to_who_does_not_push_and_hinders_no_removal() {
    let harbour = Harbour::new();
    let (one, other) = (harbour.replica(), harbour.replica());
    assert!(!one.has("asked").await && !one.has("removed").await, "listed");
    other.push("asked").await;
    other.push("removed").await;

    assert!(one.has_for_others("asked").await);
    assert!(one.remove("removed").await);
    assert!(!other.reads("removed").await);
}

#[tokio::test(start_paused = true)]
async fn a_stale_negative_ends_after_a_minute() {
    let harbour = Harbour::new();
    let (one, other) = (harbour.replica(), harbour.replica());
    assert!(!one.has("layer").await, "listed");
    other.push("layer").await;

    tokio::time::advance(MINUTE + TICK).await;

    assert!(one.has("layer").await);
}

#[tokio::test(start_paused = true)]
async fn what_was_listed_does_not_seem_absent_when_it_is_believed_no_longer() {
    let harbour = Harbour::new();
    let ttl = Duration::from_secs(10);
    let (one, other) = (harbour.believing(Belief { index_ttl: ttl, ..Belief::default() }), harbour.replica());
    other.push("layer").await;
    assert!(one.has("layer").await);

    tokio::time::advance(ttl + TICK).await;

    assert!(one.has("layer").await);
    assert_eq!(harbour.calls(&[List]), 2);
}

#[tokio::test(start_paused = true)]
async fn an_image_is_refused_only_by_the_stores_own_word() {
    let harbour = Harbour::new();
    let (one, other) = (harbour.replica(), harbour.replica());
    for layer in ["config", "one", "two"] {
        one.push(layer).await;
    }
    one.push_image("image", &["config", "one", "two"]).await.unwrap();
    let asked_for_blobs = || harbour.store.calls_for(Head, "/blobs/");
    assert_eq!((asked_for_blobs(), harbour.calls(&[List])), (0, 0), "what was pushed here needs no question");

    other.push("late").await;
    let refused = one.push_image("image", &["config", "late", "absent"]).await;

    let Err(RegistryError::ManifestBlobUnknown(missing)) = refused else { panic!("{refused:?}") };
    assert_eq!(missing, [digest("absent")]);
    assert_eq!(asked_for_blobs(), 2, "and those were asked for");
}

#[tokio::test(start_paused = true)]
async fn a_listing_does_not_undo_a_push_that_it_came_too_early_to_see() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    let list = harbour.store.when(List).hold_answer();

    let (before, ()) = tokio::join!(one.has("other"), async {
        list.arrived().await;
        one.push("layer").await;
        list.release();
    });

    assert!(!before && one.has("layer").await);
    assert_eq!((harbour.calls(&[List]), harbour.calls(&[Head])), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_listing_does_not_undo_a_push_that_was_begun_before_it() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    let (list, finish) = (harbour.store.when(List).hold_answer(), harbour.store.when(Finish).pause());

    let pushing = one.push("layer");
    let listing = async {
        finish.arrived().await;
        tokio::time::advance(TICK * 2).await;
        let (before, ()) = tokio::join!(one.has("other"), async {
            list.arrived().await;
            finish.release();
            // The push comes to its end, and only then does the answer arrive.
            while harbour.age("layer").await.is_none() {
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await;
            list.release();
        });
        assert!(!before);
    };
    tokio::join!(pushing, listing);

    let questions = harbour.calls(&[List, Head]);
    assert!(one.has("layer").await);
    assert_eq!(harbour.calls(&[List, Head]), questions);
}

#[tokio::test(start_paused = true)]
async fn a_listing_does_not_bring_back_what_was_removed_after_it_was_asked() {
    for is_removed_here in [true, false] {
        let harbour = Harbour::new();
        let (one, other) = (harbour.replica(), harbour.replica());
        other.push("layer").await;
        let list = harbour.store.when(List).hold_answer();

        let (before, ()) = tokio::join!(one.has("other"), async {
            list.arrived().await;
            if is_removed_here {
                assert!(one.remove("layer").await);
            } else {
                // The other's own business; but this one's GET finds out.
                assert!(other.remove("layer").await && !one.reads("layer").await);
            }
            list.release();
        });

        assert!(!before && !one.has("layer").await && !one.has_for_others("layer").await, "{is_removed_here}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_listing_ends_what_others_removed_before_it() {
    let harbour = Harbour::new();
    let (one, other) = (harbour.replica(), harbour.replica());
    one.push("layer").await;
    assert!(other.remove("layer").await);
    tokio::time::advance(TICK).await;

    assert!(!one.has("new").await, "listed");

    assert!(!one.has("layer").await);
}

#[tokio::test(start_paused = true)]
async fn what_is_pushed_again_after_it_was_removed_is_there() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    one.push("layer").await;
    assert!(!one.has("new").await, "listed");
    assert!(one.remove("layer").await && !one.has("layer").await);

    one.push("layer").await;

    assert!(one.has("layer").await && one.has_for_others("layer").await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_does_not_bring_back_what_was_removed_after_it_was_asked() {
    for operation in [Head, Get] {
        let harbour = Harbour::new();
        let (one, other) = (harbour.replica(), harbour.replica());
        other.push("layer").await;
        let answer = harbour.store.when(operation).nth(1).hold_answer();

        let asking = async { if operation == Head { one.has_for_others("layer").await } else { one.reads("layer").await } };
        let (was_there, ()) = tokio::join!(asking, async {
            answer.arrived().await;
            assert!(one.remove("layer").await);
            answer.release();
        });

        assert!(was_there && !one.has_for_others("layer").await, "{operation:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_came_just_before_the_removal_does_not_outlive_it() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    one.push("layer").await;
    let delete = harbour.store.when(Delete).pause();

    let (was_there, ()) = tokio::join!(one.remove("layer"), async {
        delete.arrived().await;
        assert!(one.has_for_others("layer").await, "it is there still");
        delete.release();
    });

    assert!(was_there && !one.has("layer").await && !one.has_for_others("layer").await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_does_not_undo_a_push_that_came_after_it_was_asked() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    let answer = harbour.store.when(Get).nth(1).hold_answer();

    let (was_there, ()) = tokio::join!(one.reads("layer"), async {
        answer.arrived().await;
        tokio::time::advance(TICK).await;
        one.push("layer").await;
        answer.release();
    });

    assert!(!was_there && one.has("layer").await);
    assert_eq!(harbour.calls(&[Head, List]), 0);
}

#[tokio::test(start_paused = true)]
async fn what_may_be_gone_is_not_believed_to_be_there() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    one.push("layer").await;
    harbour.store.when(Delete).nth(1).lose_answer(unavailable);

    assert!(one.app.delete_blob(&digest("layer")).await.is_err());

    assert!(!one.has("layer").await && !one.has_for_others("layer").await);
}

#[tokio::test(start_paused = true)]
async fn a_size_that_was_believed_gives_way_to_the_one_that_is_read() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    one.push("layer").await;
    tokio::time::advance(TICK).await;
    harbour.store.put(&key("layer"), "other".repeat(2).into(), "text/plain", PATIENCE.bytes).await.unwrap();

    let blob = one.app.read_blob(&digest("layer"), None, Asker::Pull).await.unwrap().unwrap();

    assert_eq!(blob.size, 10);
    assert_eq!(one.app.stat_blob(&digest("layer"), Asker::Push).await, Some(10));
}

#[tokio::test(start_paused = true)]
async fn who_may_not_list_asks_for_each_and_does_not_try_again_for_a_while() {
    let harbour = Harbour::new();
    let (one, other) = (harbour.replica(), harbour.replica());
    other.push("layer").await;
    harbour.store.when(List).fail(|| StoreError::Denied("no ListBucket".into()));

    for _ in 0..3 {
        assert!(one.has("layer").await && !one.has("new").await);
    }

    assert_eq!((harbour.calls(&[List]), harbour.calls(&[Head])), (1, 4), "what is there is asked for once");
    tokio::time::advance(MINUTE * 10 + TICK).await;
    assert!(one.has("layer").await);
    assert_eq!(harbour.calls(&[List]), 2);
}

#[tokio::test(start_paused = true)]
async fn a_listing_that_fails_or_does_not_come_leaves_time_to_ask() {
    let harbour = Harbour::new();
    let (one, other) = (harbour.replica(), harbour.replica());
    other.push("layer").await;
    for fault in ["fail", "stall", "hang"] {
        let rule = harbour.store.when(List);
        match fault {
            "fail" => rule.fail(unavailable),
            "stall" => rule.stall(),
            _ => rule.hang(),
        }
        let began = tokio::time::Instant::now();

        assert!(one.has("layer").await && !one.has("new").await, "{fault}");

        assert!(began.elapsed() <= PATIENCE.push * 2, "{fault}");
        harbour.store.mend();
        tokio::time::advance(MINUTE * 11).await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_client_that_pulls_has_anything_listed() {
    let harbour = Harbour::new();
    let one = harbour.replica();

    assert!(!one.has_for_others("layer").await && !one.reads("layer").await);

    assert_eq!((harbour.calls(&[List]), harbour.calls(&[Head])), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_while_nobody_asks() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    one.push("layer").await;
    one.push_image("image", &["layer"]).await.unwrap();
    assert!(one.has("layer").await && !one.has("new").await);
    one.registry.settle().await;
    let all = [Head, List, Get, Put, Delete, Finish, Touch];
    let calls = harbour.calls(&all);

    for _ in 0..24 * 14 {
        tokio::time::advance(MINUTE * 60).await;
        tokio::task::yield_now().await;
    }

    assert_eq!(harbour.calls(&all), calls);
}

#[tokio::test(start_paused = true)]
async fn what_lies_among_the_blobs_and_is_none_is_passed_over() {
    let harbour = Harbour::new();
    let one = harbour.replica();
    for name in ["app/blobs/notes".to_owned(), format!("{}/deeper", key("layer"))] {
        harbour.store.put(&name.parse().unwrap(), "x".into(), "text/plain", PATIENCE.bytes).await.unwrap();
    }

    assert!(!one.has("layer").await);
}

#[tokio::test(start_paused = true)]
async fn who_knew_is_counted_and_so_is_the_memory_that_it_takes() {
    let harbour = Harbour::new();
    harbour.replica().push("layer").await;
    let metrics = Metrics::new(0);
    let registry = Registry::new(Arc::clone(&harbour.store) as Arc<dyn ObjectStore>, PATIENCE);
    let registry = Arc::new(registry.with_metrics(metrics.profile("default")));
    let app = registry.writable_repository("app".parse().unwrap());

    for (content, asker) in [("layer", Asker::Push), ("layer", Asker::Pull), ("new", Asker::Push), ("new", Asker::Pull)] {
        app.stat_blob(&digest(content), asker).await;
    }

    let (told, bytes) = (metrics.to_text(), registry.index_bytes());
    for line in [
        r#"longshore_blob_questions_total{profile="default",answered_by="index_present"} 2"#.to_owned(),
        r#"longshore_blob_questions_total{profile="default",answered_by="index_absent"} 1"#.to_owned(),
        r#"longshore_blob_questions_total{profile="default",answered_by="store"} 1"#.to_owned(),
        format!(r#"longshore_index_bytes{{profile="default"}} {bytes}"#),
    ] {
        assert!(told.contains(&line), "{line}\n{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_is_remembered_than_the_bound_and_the_image_that_was_not_used_the_longest_is_forgotten() {
    let harbour = Harbour::new();
    let one = harbour.believing(Belief { index_bytes: 64 * 1024, ..Belief::default() });
    for number in 0..500 {
        let repository = one.registry.writable_repository(format!("app{number}").parse().unwrap());
        repository.stat_blob(&digest("layer"), Asker::Push).await;
        assert!(one.registry.index_bytes() <= 64 * 1024);
    }
    let listed = harbour.calls(&[List]);
    assert_eq!(listed, 500);

    for (name, questions) in [("app499", 0), ("app0", 1)] {
        let repository = one.registry.writable_repository(name.parse().unwrap());
        repository.stat_blob(&digest("layer"), Asker::Push).await;
        assert_eq!(harbour.calls(&[List]) - listed, questions, "{name}");
    }
    assert_eq!(harbour.calls(&[Put]), 0);
}
