//! What keeps the tenants of several profiles apart: whom each serves, and where each keeps what it has.

use std::path::{Component, Path};

use super::layers::{DEFAULT, Layers};
use super::people::People;
use super::problem::Place;
use super::{Anonymous, Layout, Listener, Profile, Store};
use crate::access::{Identity, Reach, User, Who, reached};
use crate::oci::{Pattern, RepoName};
use crate::store::S3Kind;

impl Reach for Profile {
    fn name(&self) -> &str {
        &self.name
    }

    fn images(&self) -> &[Pattern] {
        &self.images
    }

    fn who(&self) -> &[Who] {
        &self.who
    }
}

/// Has `profiles` serve whom they are `stated` to. Two that could serve the same identity, with nothing to tell which, are a mistake.
pub fn serve(layers: &mut Layers, profiles: &mut [Profile], stated: &[Layers], people: &People) {
    for of_profile in stated {
        let who = people.whom(of_profile, &mut layers.problems);
        if let Some(profile) = profiles.iter_mut().find(|profile| profile.name == of_profile.profile) {
            profile.who = who;
        }
    }
    for (index, profile) in profiles.iter().enumerate() {
        let tie = profiles[..index].iter().find_map(|other| Some((other, tie(profile, other, &people.users)?)));
        if let Some((other, tie)) = tie {
            let place = Place::unstated(&format!("profiles.{}.who", profile.name));
            layers.problems.push(place, format!("ties with that of profile {}: {tie} could be either's", other.name));
        }
    }
}

/// Who could be one of both: as far as patterns tell, or as one of the `users` is.
fn tie(one: &Profile, other: &Profile, users: &[User]) -> Option<String> {
    let alike = one.who.iter().find_map(|who| Some((who, other.who.iter().find(|its| its.overlaps(who))?)));
    if let Some((who, its)) = alike {
        return Some(format!("who is {who} and {its}"));
    }
    let is_served = |profile: &Profile, identity: &Identity| profile.who.iter().any(|who| who.means(identity));
    let identities = users.iter().map(|user| Identity::User { name: user.name.clone(), groups: user.groups.clone().into() });
    let mut torn = identities.filter(|identity| is_served(one, identity) && is_served(other, identity));
    torn.next().map(|identity| identity.to_string())
}

/// Warns where clients are served by who they are, and never asked: they ask for images first without saying it.
pub fn warn_of_those_who_are_not_asked(anonymous: Option<Anonymous>, profiles: &[Profile], warnings: &mut Vec<String>) {
    let serving: Vec<_> = profiles.iter().filter(|profile| !profile.who.is_empty()).map(|profile| &*profile.name).collect();
    if let Some(anonymous) = anonymous.filter(|anonymous| *anonymous != Anonymous::None && !serving.is_empty()) {
        warnings.push(format!(
            "who is served by profile {} is not asked who they are where everybody may do the same: with access.anonymous = \
             \"{anonymous}\" clients that say so only when they are asked are answered from elsewhere",
            serving.join(", ")
        ));
    }
}

/// Tells of profiles of which one reaches what the other has, because of where they keep it.
///
/// Where that would be in the hands of whoever asks, it is a mistake. Else only images tell them apart, so that it
/// may be meant: but then nothing else does, and it is worth a word.
pub fn tell_apart(layers: &mut Layers, profiles: &[Profile], listeners: &[Listener], warnings: &mut Vec<String>) {
    let grounds: Vec<Ground<'_>> = profiles.iter().map(|profile| Ground::of(profile, profiles, listeners)).collect();
    for (index, ground) in grounds.iter().enumerate() {
        let met = grounds[..index].iter().find_map(|other| Some((other, ground.meeting(other)?)));
        let Some((other, meeting)) = met else { continue };
        let (profile, other) = (ground.profile, other.profile);
        if profile.who.is_empty() && other.who.is_empty() {
            warnings.push(format!("profile {} and profile {} are not kept apart: {meeting}", profile.name, other.name));
        } else {
            let place = Place::unstated(&format!("profiles.{}.store", profile.name));
            layers.problems.push(place, format!("is not kept apart from that of profile {}: {meeting}", other.name));
        }
    }
}

/// Where a profile keeps what it has.
struct Ground<'a> {
    profile: &'a Profile,
    all: &'a [Profile],
    /// Whether an image is its own by its name, and not by who asks or where they come in.
    is_found_by_image: bool,
    /// What has keys, or files, that are no other's.
    store: String,
    /// What all of the profile's begin with.
    path: Vec<String>,
}

impl<'a> Ground<'a> {
    fn of(profile: &'a Profile, all: &'a [Profile], listeners: &[Listener]) -> Self {
        let is_listeners = listeners.iter().any(|listener| listener.profile.as_ref() == Some(&profile.name));
        let is_found_by_image = !is_listeners && profile.who.is_empty();
        let (store, path) = match &profile.store {
            Store::Folder { path } => (if path.is_absolute() { "/" } else { "." }.into(), folders(path)),
            Store::S3(bucket) => {
                let endpoint = bucket.endpoint.as_deref().filter(|_| bucket.kind != S3Kind::AWS).unwrap_or_default();
                let endpoint = endpoint.trim_end_matches('/').to_ascii_lowercase();
                (format!("{endpoint} {}", bucket.bucket), components(&bucket.prefix))
            }
        };
        Self { profile, all, is_found_by_image, store, path }
    }

    /// How what one of the two has is the other's too, if it is.
    fn meeting(&self, other: &Self) -> Option<String> {
        if self.store != other.store {
            return None;
        }
        let by_blobs = || self.blobs().filter(|blobs| other.blobs().as_ref() == Some(blobs));
        if by_blobs().is_some() {
            return Some("their layers lie in one place, in the layout shared".into());
        }
        self.meeting_of_images(other).or_else(|| other.meeting_of_images(self)).or_else(|| {
            let is_among = self.has_blobs_among_images_of(other) || other.has_blobs_among_images_of(self);
            is_among.then(|| {
                "the layers of all images of the one, in the layout shared, lie among those of an image of the other".into()
            })
        })
    }

    /// The same of images that lie where the other's do, or deeper.
    fn meeting_of_images(&self, other: &Self) -> Option<String> {
        let within = self.path.strip_prefix(&other.path[..])?;
        if within.is_empty() {
            let image = self.profile.map.iter().map(|(_, image)| image).find(|image| other.may_keep(image));
            let image = image.map(|image| format!("both may keep the image {image} in the same place, {}", self.profile.store));
            let is_any = !self.is_found_by_image || !other.is_found_by_image;
            return image.or_else(|| {
                is_any.then(|| format!("an image of one is the same as that of the other, in {}", self.profile.store))
            });
        }
        let below: Pattern = format!("{}/**", within.join("/")).parse().ok()?;
        let is_reached = within.iter().all(|component| component.parse::<RepoName>().is_ok()) && other.may_keep_below(&below);
        is_reached.then(|| {
            format!(
                "images {below} of profile {} lie where those of profile {} do, in {}",
                other.profile.name, self.profile.name, self.profile.store
            )
        })
    }

    /// Whether it may keep an image under this name.
    fn may_keep(&self, image: &RepoName) -> bool {
        let is_target = self.profile.map.iter().any(|(_, target)| target == image);
        is_target || !self.is_found_by_image || self.is_owner(image)
    }

    fn is_owner(&self, image: &RepoName) -> bool {
        reached(self.all, image, &Identity::Anonymous).is_ok_and(|owner| owner.name == self.profile.name)
    }

    /// Whether it may keep one of the images that `names` means.
    fn may_keep_below(&self, names: &Pattern) -> bool {
        let Profile { name, images, map, .. } = self.profile;
        let is_any = !self.is_found_by_image || *name == *DEFAULT;
        is_any || images.iter().any(|own| own.overlaps(names)) || map.iter().any(|(_, target)| names.matches(target))
    }

    /// What the keys of its layers begin with, if they lie in one place.
    fn blobs(&self) -> Option<String> {
        match &self.profile.layout {
            Layout::Image => None,
            Layout::Shared { blobs_prefix, .. } => {
                let path = self.path.iter().map(|component| format!("{component}/"));
                Some(path.collect::<String>() + blobs_prefix)
            }
        }
    }

    /// Whether its layers lie where `other` has those of one image.
    fn has_blobs_among_images_of(&self, other: &Self) -> bool {
        let Some(blobs) = self.blobs() else { return false };
        let above = blobs.strip_suffix("/blobs/").map(components);
        let name = above.as_ref().and_then(|above| above.strip_prefix(&other.path[..]));
        let image = name.and_then(|name| name.join("/").parse().ok());
        image.is_some_and(|image| other.profile.layout == Layout::Image && other.may_keep(&image))
    }
}

/// The folders that lead to `path`, as it is written: links are not followed.
fn folders(path: &Path) -> Vec<String> {
    let mut folders = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => folders.push(name.to_string_lossy().into_owned()),
            Component::ParentDir => drop(folders.pop()),
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    folders
}

fn components(prefix: &str) -> Vec<String> {
    prefix.split('/').filter(|component| !component.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::config::people::tests::of;

    /// Two users and an issuer; alice is in both groups.
    const PEOPLE: &str = "[access]\nanonymous = \"none\"\n[access.users]\nalice = \"<H>\"\nbob = \"<H>\"\n\
        [access.groups]\na = [\"alice\"]\nb = [\"bob\"]\nboth = [\"alice\", \"bob\"]\n\
        [[access.issuers]]\nname = \"ci\"\nissuer = \"https://ci.example\"\naudience = \"longshore\"\nrequire = { iss = \"x\" }\n\
        [[access.grants]]\nwho = { user = \"*\" }\nimages = [\"**\"]\nallow = [\"read\"]\n";

    fn loaded(profiles: &str) -> Result<Config, String> {
        of(&format!("{PEOPLE}{profiles}"))
    }

    fn serving(name: &str, who: &str) -> String {
        format!("[profiles.{name}]\nstore = \"/{name}\"\nwho = [{who}]\n")
    }

    #[test]
    fn whom_a_profile_serves_is_stated_as_in_a_grant() {
        let who = "{ group = \"a\" }, { issuer = \"ci\", namespace_path = \"team-a/**\" }, { certificate = \"*.a\" }";

        let config = loaded(&serving("team", who)).unwrap();

        let told: Vec<_> = config.profiles[0].who.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            ["{ group = \"a\" }", "{ issuer = \"ci\", namespace_path = \"team-a/**\" }", "{ certificate = \"*.a\" }"]
        );
        for (who, why) in [
            ("{ group = \"c\" }", "profiles.team.who.group  line 21  there is no group c in access.groups"),
            ("{ issuer = \"github\" }", "there is no issuer github in access.issuers"),
            ("{ namespace_path = \"a\" }", "is a claim, which only an issuer's tokens have"),
            ("{ user = \"\" }", "a pattern has 1 to 512 bytes"),
            ("{}", "profiles.team.who  line 21  names nobody"),
            ("\"anyone\"", "profiles.team.who  line 21  must be a table, not a text"),
            ("{ user = 1 }", "profiles.team.who.user  line 21  must be a text, not a number"),
        ] {
            let told = loaded(&serving("team", who)).unwrap_err();
            assert!(told.contains(why), "{who}: {told}");
        }
        let anyone = loaded("[profiles.team]\nstore = \"/x\"\nwho = \"anyone\"\n").unwrap_err();
        assert!(anyone.contains("profiles.team.who  line 21  names nobody"), "{anyone}");
    }

    #[test]
    fn who_could_be_two_profiles_is_a_mistake_that_names_both() {
        for (one, other, tie) in [
            ("{ group = \"a\" }", "{ group = \"b\" }", None),
            ("{ group = \"a\" }", "{ group = \"both\" }", Some("user alice could be either's")),
            ("{ user = \"bob\" }", "{ group = \"b\" }", Some("user bob could be either's")),
            (
                "{ user = \"ci-*\" }",
                "{ user = \"ci-a\" }",
                Some("who is { user = \"ci-a\" } and { user = \"ci-*\" } could be either's"),
            ),
            ("{ issuer = \"ci\", ns = \"a/**\" }", "{ issuer = \"ci\", ns = \"b/**\" }", None),
            ("{ issuer = \"ci\", ns = \"a/**\" }", "{ issuer = \"ci\", ref = \"x\" }", Some("could be either's")),
            ("{ certificate = \"*.a\" }", "{ certificate = \"*.b\" }", None),
            ("{ certificate = \"*.a\" }", "{ certificate = \"x.*\" }", Some("could be either's")),
        ] {
            let outcome = loaded(&(serving("one", one) + &serving("two", other)));
            match (outcome, tie) {
                (Ok(_), None) => {}
                (Err(told), Some(tie)) => {
                    assert!(told.contains("profiles.two.who  ties with that of profile one: ") && told.contains(tie), "{told}");
                }
                (outcome, _) => panic!("{one} {other}: {:?}", outcome.map(|config| config.profiles)),
            }
        }
    }

    #[test]
    fn who_is_not_asked_is_warned_of() {
        let open = PEOPLE.replace("\"none\"", "\"read\"");

        let warnings = of(&format!("{open}{}", serving("team", "{ group = \"a\" }"))).unwrap().warnings;

        assert!(warnings[0].starts_with("who is served by profile team is not asked who they are"), "{warnings:?}");
    }

    /// What is told of two profiles that keep their images so: `error …`, `warning …`, or nothing.
    fn told_of(one: &str, other: &str) -> String {
        let keys = "access_key_id = \"id\"\nsecret_access_key = \"{{secret:BOB}}\"\n";
        let table = |name: &str, lines: &str| {
            let keys = if lines.contains("://") { keys } else { "" };
            format!("[profiles.{name}]\n{lines}\n{keys}")
        };
        match loaded(&(table("default", one) + &table("team", other))) {
            Ok(config) => config.warnings.iter().map(|warning| format!("warning {warning}")).collect::<Vec<_>>().join("\n"),
            Err(told) => format!("error {told}"),
        }
    }

    #[test]
    fn profiles_that_lie_in_one_another_are_told_where_images_meet() {
        const TEAM: &str = "images = [\"team/**\"]\n";
        const SERVED: &str = "who = [{ group = \"a\" }]\n";
        let shared = |lines: &str| format!("{lines}layout = \"shared\"\n");
        for (one, other, expected) in [
            // Only images tell them apart, and they do.
            ("store = \"s3://cache/x\"".to_owned(), format!("{TEAM}store = \"s3://cache/x\""), ""),
            ("store = \"s3://cache/a\"".into(), format!("{SERVED}store = \"s3://cache/b\""), ""),
            ("store = \"s3://cache/a\"".into(), format!("{SERVED}store = \"s3://cache/a-b\""), ""),
            ("store = \"s3://cache\"".into(), format!("{SERVED}store = \"s3://other\""), ""),
            (
                "store = \"s3://cache\"\nendpoint = \"http://one:9000\"".into(),
                format!("{SERVED}store = \"s3://cache\"\nendpoint = \"http://two:9000\""),
                "",
            ),
            // No image can be called so.
            ("store = \"s3://cache/a\"".into(), format!("{SERVED}store = \"s3://cache/a/_Team\""), ""),
            ("store = \"/dir\"".into(), format!("{SERVED}store = \"./dir\""), ""),
            (
                "store = \"s3://cache/x\"".into(),
                format!("{SERVED}store = \"s3://cache/x\""),
                "error an image of one is the same as that of the other",
            ),
            (
                "store = \"s3://cache/x\"".into(),
                format!("{SERVED}store = \"s3://cache/x/team\""),
                "error images team/** of profile default lie where those of profile team do",
            ),
            (
                "store = \"s3://cache/x/team\"".into(),
                format!("{SERVED}store = \"s3://cache/x\""),
                "error images team/** of profile team lie where those of profile default do",
            ),
            ("store = \"/dir/./a\"".into(), format!("{SERVED}store = \"/dir/b/../a/\""), "error an image of one is the same"),
            (
                "store = \"/dir\"".into(),
                format!("{SERVED}store = \"/dir/team\""),
                "error images team/** of profile default lie where",
            ),
            (
                "store = \"s3://cache\"".into(),
                format!("{TEAM}store = \"s3://cache/team\""),
                "warning images team/** of profile default lie where those of profile team do",
            ),
            ("store = \"s3://cache/other\"".into(), format!("{TEAM}store = \"s3://cache\""), ""),
            (
                "store = \"s3://cache/team/x\"".into(),
                format!("{TEAM}store = \"s3://cache\""),
                "warning images team/x/** of profile team lie where",
            ),
            (
                "store = \"s3://cache\"\nmap = { \"web-*\" = \"team/web\" }".into(),
                format!("{TEAM}store = \"s3://cache\""),
                "warning both may keep the image team/web in the same place",
            ),
            (
                "store = \"s3://cache\"".into(),
                format!("{TEAM}store = \"s3://cache\"\nmap = {{ \"team/web-*\" = \"web\" }}"),
                "warning both may keep the image web in the same place",
            ),
            (
                "store = \"s3://cache\"".into(),
                format!("{TEAM}store = \"s3://cache\"\nmap = {{ \"team/web-*\" = \"team/web\" }}"),
                "",
            ),
            (
                shared("store = \"s3://cache\"\n"),
                shared(&format!("{TEAM}store = \"s3://cache\"\n")),
                "warning their layers lie in one place",
            ),
            (shared("store = \"s3://cache/a\"\n"), shared(&format!("{SERVED}store = \"s3://cache/b\"\n")), ""),
            (
                format!("{}s3_clients = {{ blobs_prefix = \"team/blobs/\" }}", shared("store = \"s3://cache\"\n")),
                shared(&format!("{TEAM}store = \"s3://cache/team\"\n")),
                "warning their layers lie in one place",
            ),
            (
                format!("{}s3_clients = {{ blobs_prefix = \"team/app/blobs/\" }}", shared("store = \"s3://cache\"\n")),
                format!("{TEAM}store = \"s3://cache\"\n"),
                "warning the layers of all images of the one",
            ),
        ] {
            let told = told_of(&one, &other);
            let told: Vec<_> = told.lines().collect();
            let (kind, text) = expected.split_once(' ').unwrap_or_default();
            match kind {
                "" => assert!(told.is_empty(), "{one} {other}: {told:?}"),
                kind => assert!(told[0].starts_with(kind) && told.concat().contains(text), "{one} {other}: {told:?}"),
            }
        }
    }

    #[test]
    fn a_listener_of_its_own_leads_to_any_image_of_a_profile() {
        let profiles = "[server]\nlisten = [\"127.0.0.1:1=team\", \"127.0.0.1:2\"]\n[profiles.default]\nstore = \"/x\"\n\
            [profiles.team]\nimages = [\"team/**\"]\nstore = \"/x\"\n";

        let warnings = loaded(profiles).unwrap().warnings;

        assert_eq!(
            warnings,
            [
                "profile team and profile default are not kept apart: an image of one is the same as that of the other, in folder /x"
            ]
        );
    }
}
