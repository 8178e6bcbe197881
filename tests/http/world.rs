//! Replicas over one store whose every call can be held, lost or failed: what
//! one client does is struck at each of its calls in turn, and another client
//! does all that it wants meanwhile or afterwards.
//!
//! No sockets here: a request that is dropped is a client that has left. And
//! time stands still while anybody can go on, so who waits is seen to wait.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use longshore::access::{Access, Profile, Profiles};
use longshore::api::{Api, Entrance, Hosts};
use longshore::metrics::Metrics;
use longshore::oci::{Algorithm, Digest, MediaType};
use longshore::registry::{Patience, Registry};
use longshore::store::{FolderStore, Key, MemoryStore, ObjectStore};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::broken_store::{BrokenStore, unavailable};
use crate::client::Answer;
use crate::stand::check;

/// Longer than any test lasts, so that no wait ends by itself.
/// What is in the place of a manifest that was deleted.
const DELETED: &str = "application/vnd.longshore.deleted";

const PATIENCE: Duration = Duration::from_secs(3600);

/// How long nobody can go on before everybody is taken to be stuck.
const STUCK: Duration = Duration::from_secs(1);

/// Where the other client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At the same replica.
    Together,
    /// At another one over the same store.
    Apart,
}

impl Place {
    pub const ANY: [Self; 2] = [Self::Together, Self::Apart];
}

/// A store that needs no server.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Memory,
    Folder,
}

/// Every store, with each of `places`.
fn grounds(places: &[Place]) -> impl Iterator<Item = (Kind, Place)> {
    places.iter().flat_map(|place| [(Kind::Memory, *place), (Kind::Folder, *place)])
}

/// One store, and what has been acknowledged to clients of it.
struct World {
    store: Arc<BrokenStore>,
    acknowledged: RefCell<Vec<String>>,
    _folder: Option<TempDir>,
}

/// Somebody who asks one replica.
#[derive(Clone)]
pub struct Client {
    world: Rc<World>,
    replica: Arc<Replica>,
}

struct Replica {
    api: Api,
    registry: Arc<Registry>,
}

/// Two clients at once: each is held at each of its calls to the store in turn, while the other does all that it wants.
///
/// Both find what `prepare` made. What they came to goes to `judge`, with a
/// client of a third replica; what is true whatever they do is checked before.
pub async fn race<T, A, B>(
    places: &[Place],
    prepare: impl AsyncFn(&Client) -> T,
    one: impl AsyncFn(&Client, &T) -> A,
    two: impl AsyncFn(&Client, &T) -> B,
    judge: impl AsyncFn(&Client, &T, A, B),
) {
    hold(places, &prepare, &one, &two, &judge).await;
    hold(places, &prepare, &two, &one, async |client, prepared, two, one| judge(client, prepared, one, two).await).await;
}

async fn hold<T, A, B>(
    places: &[Place],
    prepare: impl AsyncFn(&Client) -> T,
    held: impl AsyncFn(&Client, &T) -> A,
    other: impl AsyncFn(&Client, &T) -> B,
    judge: impl AsyncFn(&Client, &T, A, B),
) {
    for (kind, place) in grounds(places) {
        for nth in 1.. {
            let world = Rc::new(World::on(kind));
            let one = world.client();
            let two = world.beside(&one, place);
            let prepared = prepare(&world.client()).await;
            println!("{kind:?}, {place:?}: held at call {nth}");
            let pause = world.store.at_any_call().nth(nth).pause();
            let mut held = Box::pin(one.to_the_end(held(&one, &prepared)));
            tokio::select! {
                biased;
                _ = &mut held => {
                    assert!(nth > 1, "it never asked the store");
                    break;
                }
                () = pause.arrived() => {}
            }

            // However far it has come by itself, nobody sees half of it.
            world.assert_sound().await;
            let mut other = Box::pin(two.to_the_end(other(&two, &prepared)));
            // Who waits for the one that is held goes on after it.
            let early = timeout(STUCK, &mut other).await;
            pause.release();
            let (one, two) = match early {
                Ok(two) => (held.await, two),
                Err(_) => tokio::join!(held, other),
            };

            world.assert_sound().await;
            judge(&world.client(), &prepared, one, two).await;
        }
    }
}

/// What befalls a call to the store.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// It fails, and nothing is done.
    Fails,
    /// It is done, and fails.
    LosesItsAnswer,
    /// Whoever makes it is gone before it is made.
    Kills,
}

/// Strikes one client at each of its calls to the store in turn, each time in every way; then another goes on.
///
/// Both find what `prepare` made. Who is struck, and not killed, is told so or
/// notices nothing. What was acknowledged to either must be there in the end,
/// and `judge` gets what the second came to.
pub async fn strike<T, A>(
    prepare: impl AsyncFn(&Client) -> T,
    struck: impl AsyncFn(&Client, &T) -> StatusCode,
    next: impl AsyncFn(&Client, &T) -> A,
    judge: impl AsyncFn(&Client, &T, A),
) {
    let fates = [Fate::Fails, Fate::LosesItsAnswer, Fate::Kills];
    for ((kind, place), fate) in grounds(&Place::ANY).flat_map(|ground| fates.map(|fate| (ground, fate))) {
        for nth in 1.. {
            let world = Rc::new(World::on(kind));
            let one = world.client();
            let two = world.beside(&one, place);
            let prepared = prepare(&world.client()).await;
            println!("{kind:?}, {place:?}: call {nth} {fate:?}");
            let fired = world.arrange(nth, fate);
            // Who is stuck has been killed, and is dropped here.
            let outcome = timeout(STUCK, one.to_the_end(struck(&one, &prepared))).await;
            let has_fired = fired.load(Ordering::Relaxed) || outcome.is_err();
            if let Ok(status) = outcome {
                assert!(status.is_success() || status == StatusCode::SERVICE_UNAVAILABLE, "{status}");
            }
            world.store.mend();

            let outcome = next(&two, &prepared).await;

            two.settle().await;
            world.assert_sound().await;
            world.assert_kept().await;
            judge(&world.client(), &prepared, outcome).await;
            if !has_fired {
                assert!(nth > 1, "it never asked the store");
                break;
            }
        }
    }
}

impl World {
    fn on(kind: Kind) -> Self {
        let (store, folder): (Arc<dyn ObjectStore>, _) = match kind {
            Kind::Memory => (Arc::new(MemoryStore::default()), None),
            Kind::Folder => {
                let folder = tempfile::tempdir().unwrap();
                (Arc::new(FolderStore::open(folder.path()).unwrap()), Some(folder))
            }
        };
        Self { store: BrokenStore::around(store), acknowledged: RefCell::default(), _folder: folder }
    }

    /// A client of a replica that nobody has asked anything yet.
    fn client(self: &Rc<Self>) -> Client {
        let patience = Patience { pull: PATIENCE, push: PATIENCE, bytes: PATIENCE };
        let registry = Arc::new(Registry::new(Arc::clone(&self.store) as Arc<dyn ObjectStore>, patience));
        let profile = Profile::new("default".to_owned(), Arc::clone(&registry), Access::Write);
        Client {
            world: Rc::clone(self),
            replica: Arc::new(Replica {
                api: Api::new(Profiles::new([Arc::new(profile)]), Hosts::new([]), Metrics::new(1)),
                registry,
            }),
        }
    }

    /// A client beside `other`.
    fn beside(self: &Rc<Self>, other: &Client, place: Place) -> Client {
        match place {
            Place::Together => other.clone(),
            Place::Apart => self.client(),
        }
    }

    /// Lets `fate` befall the `nth` call from now; whether it has. Of a call that kills nobody learns.
    fn arrange(&self, nth: usize, fate: Fate) -> Arc<AtomicBool> {
        let fired = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&fired);
        let fail = move || {
            told.store(true, Ordering::Relaxed);
            unavailable()
        };
        let call = self.store.at_any_call().nth(nth);
        match fate {
            Fate::Fails => call.fail(fail),
            Fate::LosesItsAnswer => call.lose_answer(fail),
            Fate::Kills => call.hang(),
        }
        fired
    }

    /// What must be true of the store whatever has been done to it.
    async fn assert_sound(&self) {
        let page = self.store.list("", None, PATIENCE).await.unwrap();
        assert!(!page.is_truncated);
        for key in page.objects.into_iter().map(|object| object.key) {
            let (folder, name) = key.as_str().rsplit_once('/').unwrap();
            let (bytes, content_type) = self.read(&key).await.unwrap();
            if content_type.starts_with(DELETED) {
                assert!(folder.ends_with("/_oci/manifests") && bytes.is_empty(), "what is {key}?");
            } else if folder.ends_with("/blobs") || folder.ends_with("/_oci/manifests") {
                let named: Digest = name.parse().unwrap();
                assert_eq!(Digest::of(named.algorithm(), &bytes), named, "wrong bytes at {key}");
            } else if let Some(image) = folder.strip_suffix("/_oci/tags") {
                let algorithm = if content_type.ends_with("sha512") { Algorithm::Sha512 } else { Algorithm::Sha256 };
                let digest = Digest::of(algorithm, &bytes);
                // Who comes upon one that was deleted looks for its tags.
                assert!(self.manifest(image, &digest.to_string()).await.is_some(), "tag {name} without its manifest");
            } else if let Some((image, _)) = folder.split_once("/_oci/referrers/") {
                let manifest = self.manifest(image, name).await;
                assert!(manifest.is_some_and(|(bytes, _)| !bytes.is_empty()), "{key} without its manifest");
            } else {
                assert!(folder.contains("/_oci/uploads/") || folder.ends_with("/_oci/used"), "what is {key}?");
            }
        }
    }

    async fn read(&self, key: &Key) -> Option<(Bytes, String)> {
        let object = self.store.get(key, None, PATIENCE).await.unwrap()?;
        let chunks: Vec<Bytes> = object.body.try_collect().await.unwrap();
        Some((chunks.concat().into(), object.meta.content_type))
    }

    async fn manifest(&self, image: &str, digest: &str) -> Option<(Bytes, String)> {
        self.read(&format!("{image}/_oci/manifests/{digest}").parse().unwrap()).await
    }

    /// What was acknowledged must be there, at another replica too.
    async fn assert_kept(self: &Rc<Self>) {
        let client = self.client();
        for path in self.acknowledged.take() {
            let get = client.get(&path).await;
            assert_eq!(get.status, StatusCode::OK, "acknowledged, and not there: {path}");
        }
    }
}

impl Client {
    /// Does `act`, and what it left to be done in the background.
    async fn to_the_end<T>(&self, act: impl Future<Output = T>) -> T {
        let outcome = act.await;
        self.replica.registry.settle().await;
        outcome
    }

    /// Waits for what runs in the background, unless it was killed.
    async fn settle(&self) {
        let _ = timeout(STUCK, self.replica.registry.settle()).await;
    }

    /// Sends a request, with a body that comes in two pieces, and checks the answer for what is true of any.
    pub async fn send(&self, request: http::request::Builder, body: impl Into<Bytes>) -> Answer {
        let mut body: Bytes = body.into();
        let request = request.header(HOST, "localhost").header(CONTENT_LENGTH, body.len());
        let first = body.split_to(body.len() / 2);
        let pieces = [first, body].into_iter().filter(|piece| !piece.is_empty()).map(|piece| Ok(Frame::data(piece)));
        let request = request.body(StreamBody::new(stream::iter(pieces)).boxed_unsync()).unwrap();
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());

        let (head, body) =
            self.replica.api.answer(request, &Entrance::Registry(None), IpAddr::V4(Ipv4Addr::LOCALHOST)).await.into_parts();
        let answer = Answer { status: head.status, headers: head.headers, body: body.collect().await.unwrap().to_bytes() };
        check(&answer, method == Method::HEAD);
        if method == Method::PUT && answer.status == StatusCode::CREATED {
            let mut acknowledged = self.world.acknowledged.borrow_mut();
            acknowledged.push(answer.header("location").to_owned());
            // The blob or manifest by its digest; a tag is one that the path names.
            acknowledged.extend(path.contains("/manifests/").then_some(path));
        }
        answer
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path), "").await
    }

    /// Deletes something, after which nothing need be there.
    pub async fn delete(&self, path: &str) -> StatusCode {
        self.world.acknowledged.borrow_mut().clear();
        self.send(Request::delete(path), "").await.status
    }

    /// Opens an upload in `image`; where its bytes go.
    pub async fn open_upload(&self, image: &str) -> String {
        let opened = self.send(Request::post(format!("/v2/{image}/blobs/uploads/")), "").await;
        assert_eq!(opened.status, StatusCode::ACCEPTED, "{opened:?}");
        opened.header("location").to_owned()
    }

    /// Sends the chunk of an upload that begins at `first`.
    pub async fn patch(&self, location: &str, first: usize, chunk: &'static str) -> Answer {
        let range = format!("{first}-{}", first + chunk.len() - 1);
        self.send(Request::patch(location).header(CONTENT_RANGE, range), chunk).await
    }

    /// Ends the upload at `location`, of which pieces are stored, as the blob `content`.
    pub async fn close(&self, location: &str, content: &str) -> StatusCode {
        let (path, _) = location.split_once('?').unwrap_or((location, ""));
        let digest = Digest::sha256(content.as_bytes());
        self.send(Request::put(format!("{path}?holds=1&digest={digest}")), "").await.status
    }

    /// Pushes a blob whole, as BuildKit does.
    pub async fn push_blob(&self, image: &str, content: &'static str) -> StatusCode {
        let (location, digest) = (self.open_upload(image).await, Digest::sha256(content.as_bytes()));
        self.send(Request::put(format!("{location}?digest={digest}")), content).await.status
    }

    /// Pushes a manifest to `app`.
    pub async fn push_manifest(&self, reference: &str, manifest: &str) -> StatusCode {
        let request = Request::put(format!("/v2/app/manifests/{reference}")).header(CONTENT_TYPE, MediaType::OCI_MANIFEST);
        self.send(request, manifest.to_owned()).await.status
    }

    /// The bytes of the manifest at `reference` of `app`, if it is there.
    pub async fn manifest(&self, reference: &str) -> Option<String> {
        let get = self.get(&format!("/v2/app/manifests/{reference}")).await;
        found(get)
    }

    /// The bytes of a blob of `image`, if it is there.
    pub async fn blob(&self, image: &str, content: &str) -> Option<String> {
        let get = self.get(&format!("/v2/{image}/blobs/{}", Digest::sha256(content.as_bytes()))).await;
        found(get)
    }
}

fn found(get: Answer) -> Option<String> {
    match get.status {
        StatusCode::OK => Some(String::from_utf8(get.body.to_vec()).unwrap()),
        StatusCode::NOT_FOUND => None,
        _ => panic!("{get:?}"),
    }
}
