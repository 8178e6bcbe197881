use std::cell::Cell;

use super::*;
use crate::credentials::NoCredentials;

const PATIENCE: Duration = Duration::from_secs(60);

/// Against which nothing but time helps.
async fn time_helps(remedy: Remedy, _began: Instant) -> Again {
    if remedy == Remedy::None { Again::Never } else { Again::Later }
}

fn endpoint() -> Endpoint {
    Endpoint::new(ProfileMetrics::default())
}

fn passing() -> Fault {
    Fault::incomplete("anything")
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_tried_again_until_it_succeeds() {
    let failures = Cell::new(7);

    let outcome = retry(PATIENCE, &endpoint(), time_helps, |_| async {
        failures.set(failures.get() - 1);
        if failures.get() == 0 { Ok(()) } else { Err(passing()) }
    })
    .await;

    assert!(outcome.is_ok(), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn patience_ends_when_it_was_to_end() {
    let began = Instant::now();

    let outcome: Result<(), _> = retry(PATIENCE, &endpoint(), time_helps, |_| async { Err(passing()) }).await;

    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    assert!(began.elapsed() <= PATIENCE && began.elapsed() + MAX_PAUSE >= PATIENCE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_stands_still_is_given_up_soon_and_the_next_one_goes_over_a_new_connection() {
    let (attempts, renewed, began) = (Cell::new(0), Cell::new(0), Instant::now());
    let patience = Duration::from_secs(2);

    let outcome = retry(
        patience,
        &endpoint(),
        |remedy, _| {
            renewed.set(renewed.get() + usize::from(remedy == Remedy::NewConnections));
            std::future::ready(Again::Later)
        },
        |_| async {
            attempts.set(attempts.get() + 1);
            if attempts.get() == 1 { std::future::pending().await } else { Ok(()) }
        },
    )
    .await;

    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(renewed.get(), 1);
    assert!(began.elapsed() < patience / 2, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_moves_may_take_longer_than_the_patience() {
    let outcome = retry(PATIENCE, &endpoint(), time_helps, |attempt| async move {
        for _ in 0..20 {
            tokio::time::sleep(FIRST_STILL.mul_f64(0.9)).await;
            attempt.moves();
        }
        Ok(())
    })
    .await;

    assert!(outcome.is_ok(), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_on_from_an_outage_is_given_up_soon_after_it() {
    let (endpoint, attempts, began) = (endpoint(), Cell::new(0), Instant::now());
    let hanging = retry(Duration::from_mins(3), &endpoint, time_helps, |_| async {
        attempts.set(attempts.get() + 1);
        if attempts.get() == 1 { std::future::pending().await } else { Ok(()) }
    });
    let outage = async {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(1)).await;
            endpoint.health.failed(&endpoint.health.call(PATIENCE), &passing().error);
        }
        endpoint.health.succeeded();
    };

    let (outcome, ()) = tokio::join!(hanging, outage);

    assert!(outcome.is_ok() && attempts.get() == 2, "{outcome:?}");
    assert!(began.elapsed() < Duration::from_secs(3) + STILL_WHEN_WELL + MAX_PAUSE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_was_never_asked_for_lack_of_keys_says_nothing_of_the_store() {
    let endpoint = endpoint();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        endpoint.health.failed(&endpoint.health.call(PATIENCE), &passing().error);
    }
    let missing = NoCredentials { profile: String::new(), from: "file", reason: String::new(), is_passing: false };

    let call = endpoint.health.call(PATIENCE);
    endpoint.learn::<()>(&call, &Err(Fault::without_keys(missing)));

    let hasty = endpoint.health.call(Duration::from_secs(1));
    assert!(endpoint.health.admit(&hasty, Instant::now()).await.is_err(), "it is still down");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_gives_the_store_time_is_not_given_up_before() {
    let attempts = Cell::new(0);

    let outcome = retry(PATIENCE, &endpoint(), time_helps, |attempt| {
        attempts.set(attempts.get() + 1);
        async move {
            attempt.gives_time(Instant::now() + PATIENCE / 2);
            tokio::time::sleep(PATIENCE / 2).await;
            Ok(())
        }
    })
    .await;

    assert!(outcome.is_ok(), "{outcome:?}");
    assert_eq!(attempts.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_outlives_its_attempt_lets_go_of_the_bytes() {
    let bytes = Bytes::from(vec![0; 3 * SLICE]);
    let kept = Cell::new(None);

    let _: Result<(), _> = retry(PATIENCE, &endpoint(), time_helps, |attempt| {
        kept.set(Some(Slices::new(bytes.clone(), attempt)));
        async { Err(Fault::lasting(StoreError::OutOfRange)) }
    })
    .await;

    let mut body = kept.take().unwrap();
    assert!(body.next().is_err());
    assert!(bytes.is_unique());
}

#[test]
fn memory_that_the_socket_is_done_with_is_used_again_and_no_other() {
    let bytes: Bytes = (0..6 * SLICE).map(|place| (place / SLICE) as u8).collect::<Vec<_>>().into();
    let mut body = Slices::new(bytes.clone(), Attempt::new());
    let mut next = || body.next().unwrap().into_data().unwrap();

    let [first, second] = [next(), next()];
    let places = [first.as_ptr(), second.as_ptr()];
    assert_ne!(places[0], places[1]);
    assert_eq!([&first[..], &second[..]].concat(), bytes[..2 * SLICE]);
    drop(first);
    let third = next();
    assert_eq!((third.as_ptr(), &third[..]), (places[0], &bytes[2 * SLICE..3 * SLICE]));

    let fourth = next();
    assert!(!places.contains(&fourth.as_ptr()), "the second is still being sent");
    assert_eq!(second, bytes[SLICE..2 * SLICE]);
}
