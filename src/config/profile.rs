//! A profile as a whole: its store, its images, and what they are kept as.

use std::cmp::Ordering;
use std::collections::HashMap;

use percent_encoding::percent_decode_str;

use super::layers::Layers;
use super::problem::Place;
use super::setting::{IMAGES, MAP};
use super::sources::Environment;
use super::store::StoreKind;
use super::{Profile, layout, rules, secrets, store};
use crate::oci::{Pattern, RepoName};

/// The profile that `layers` are about, unless something about it is wrong, which has been told.
pub fn profile(
    layers: &mut Layers,
    kind: Option<StoreKind>,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Option<Profile> {
    secrets::tell_of_literals(layers, warnings);
    let store = match kind {
        Some(kind) => store::store(layers, kind, environment),
        None => store::tell_of_parts(layers),
    };
    let images = layers.read_all(&IMAGES, str::parse::<Pattern>).unwrap_or_default();
    let map: Vec<_> = layers.read_all(&MAP, mapping).unwrap_or_default();
    for (index, (pattern, _)) in map.iter().enumerate() {
        if let Some((other, _)) = map[..index].iter().find(|(other, _)| is_tie(pattern, other)) {
            layers.refuse(&MAP, format!("{other} and {pattern} mean the same images, and neither more of them than the other"));
        }
    }
    let (rules, fallbacks) = (rules::rules(layers), rules::fallbacks(layers));
    let parts = rules::parts(layers);
    let layout = layout::layout(layers);
    let s3_clients = layout::s3_clients(layers, layout.as_ref());
    let (parts, layout, store) = (parts?, layout?, store?);
    Some(Profile {
        name: layers.profile.clone(),
        images,
        who: Vec::new(),
        map,
        parts,
        rules,
        fallbacks,
        layout,
        s3_clients,
        store,
    })
}

/// Two profiles that could have the same image, with nothing to tell which, are a mistake.
///
/// Of each pattern one tie is told. Only what begins alike can tie, so few of many are compared.
pub fn refuse_ties(layers: &mut Layers, profiles: &[Profile]) {
    let mut seen: HashMap<&str, Vec<(&Pattern, &Profile)>> = HashMap::new();
    for profile in profiles {
        for own in &profile.images {
            let alike = seen.entry(own.literal()).or_default();
            let tie = alike.iter().find(|(its, other)| other.name != profile.name && is_tie(own, its));
            if let Some((its, other)) = tie {
                let place = Place::unstated(&format!("profiles.{}.images", profile.name));
                let message = format!("{own} ties with {its} of profile {}: one image could be either's", other.name);
                layers.problems.push(place, message);
            }
            alike.push((own, profile));
        }
    }
}

/// Whether both mean some image, and neither is more specific.
pub fn is_tie(left: &Pattern, right: &Pattern) -> bool {
    left.specificity(right) == Ordering::Equal && left.overlaps(right)
}

/// `pattern=image`, either percent-encoded or not.
fn mapping(text: &str) -> Result<(Pattern, RepoName), String> {
    let (pattern, image) = text.split_once('=').ok_or("is PATTERN=IMAGE, such as \"org/web-*\" = \"org/web\"")?;
    let decoded = |text| percent_decode_str(text).decode_utf8().map_err(|_| "is not UTF-8".to_owned());
    let pattern = decoded(pattern)?.parse::<Pattern>().map_err(|error| error.to_string())?;
    let image = decoded(image)?.parse::<RepoName>().map_err(|error| error.to_string())?;
    Ok((pattern, image))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::Problems;
    use crate::config::tests::loaded;
    use crate::config::{Config, Store};
    use crate::credentials::Source;

    const OPEN: (&str, &str) = ("LONGSHORE_ANONYMOUS", "write");
    const KEYS: [(&str, &str); 2] = [("AWS_ACCESS_KEY_ID", "id"), ("AWS_SECRET_ACCESS_KEY", "secret")];

    /// `name: store` of every profile.
    fn stores(variables: &[(&str, &str)], file: &str) -> Result<Vec<String>, String> {
        let variables: Vec<_> = variables.iter().copied().chain([OPEN]).collect();
        let config = loaded(&[], &variables, file)?;
        Ok(config.profiles.iter().map(|profile| format!("{}: {}", profile.name, profile.store)).collect())
    }

    fn source(config: &Config) -> &Source {
        let Store::S3(bucket) = &config.profiles[0].store else { panic!("a folder") };
        &bucket.credentials
    }

    #[test]
    fn there_is_a_profile_default_where_anything_is_about_it_or_nothing_about_another() {
        const TEAM: &str = "[profiles.team]\nimages = [\"team/*\"]\nstore = \"/team\"\n";
        let team = "team: folder /team";
        let default = "default: folder /home/user/.cache/longshore";
        for (variables, file, expected) in [
            (&[][..], String::new(), &[default][..]),
            (&[], TEAM.to_owned(), &[team]),
            (&KEYS, TEAM.to_owned(), &[team]),
            (&[("LONGSHORE_PATH", "/x")], TEAM.to_owned(), &[team, "default: folder /x"]),
            (&[], format!("{TEAM}[profiles.default]"), &[default, team]),
        ] {
            let mut found = stores(variables, &file).unwrap();
            found.sort();
            let mut expected = expected.to_vec();
            expected.sort_unstable();
            assert_eq!(found, expected, "{variables:?} {file}");
        }
    }

    #[test]
    fn flags_and_variables_are_about_default_and_no_other() {
        let file = "[profiles.team]\nimages = [\"team/*\"]\nstore = \"s3://team-cache\"\naccess_key_id = \"a\"\nsecret_access_key = \"b\"\n";
        let variables = [("LONGSHORE_BUCKET", "ours"), ("AWS_REGION", "eu-west-1"), KEYS[0], KEYS[1]];

        let found = stores(&variables, file).unwrap();

        assert_eq!(found, ["team: s3://team-cache, region us-east-1", "default: s3://ours, region eu-west-1"]);
    }

    #[test]
    fn what_gocdnext_says_is_a_bucket_and_where_it_says_half_of_it_a_mistake() {
        let bucket = ("GOCDNEXT_LAYER_CACHE_BUCKET", "cache");
        let region = ("GOCDNEXT_LAYER_CACHE_REGION", "eu-west-1");
        let backend = |name| ("GOCDNEXT_LAYER_CACHE_BACKEND", name);
        let named = ("GOCDNEXT_LAYER_CACHE_ENDPOINT", "http://minio:9000");
        let aws = ("AWS_REGION", "eu-north-1");
        for (variables, expected) in [
            (vec![bucket], Ok("default: s3://cache, region us-east-1")),
            (vec![bucket, aws], Ok("default: s3://cache, region eu-north-1")),
            (vec![bucket, aws, region], Ok("default: s3://cache, region eu-west-1")),
            (vec![bucket, ("GOCDNEXT_LAYER_CACHE_REGION", ""), aws], Ok("default: s3://cache, region eu-north-1")),
            (vec![bucket, named, backend("s3")], Ok("default: s3://cache, region us-east-1, at http://minio:9000")),
            (vec![bucket, aws, backend("gcs")], Ok("default: gs://cache, region auto, at https://storage.googleapis.com")),
            (vec![bucket, region, backend("gs")], Ok("default: gs://cache, region eu-west-1, at https://storage.googleapis.com")),
            (vec![bucket, backend("azure")], Err("GOCDNEXT_LAYER_CACHE_BACKEND  \"azure\": must be one of s3, gcs, gs")),
            (vec![region], Err("GOCDNEXT_LAYER_CACHE_REGION  needs GOCDNEXT_LAYER_CACHE_BUCKET beside it")),
            (vec![("GOCDNEXT_LAYER_CACHE_NAME", "x")], Err("GOCDNEXT_LAYER_CACHE_NAME  needs GOCDNEXT_LAYER_CACHE_BUCKET")),
            (vec![("GOCDNEXT_LAYER_CACHE_BUCKET", "")], Err("GOCDNEXT_LAYER_CACHE_BUCKET  is empty")),
            (vec![region, ("LONGSHORE_PATH", "/x")], Ok("default: folder /x")),
            (vec![aws], Ok("default: folder /home/user/.cache/longshore")),
        ] {
            let all: Vec<_> = variables.iter().copied().chain(KEYS).collect();
            match (stores(&all, ""), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, [expected], "{variables:?}"),
                (Err(told), Err(expected)) => assert!(told.contains(expected), "{told}"),
                (outcome, _) => panic!("{variables:?}: {outcome:?}"),
            }
        }
        let half = stores(&[bucket, backend("gcs"), KEYS[0]], "").unwrap_err();
        assert!(half.contains("AWS_ACCESS_KEY_ID  needs AWS_SECRET_ACCESS_KEY beside it"), "{half}");
    }

    #[test]
    fn gocdnexts_name_is_what_all_images_are_kept_as() {
        let variables = [("GOCDNEXT_LAYER_CACHE_BUCKET", "cache"), ("GOCDNEXT_LAYER_CACHE_NAME", "ours"), OPEN, KEYS[0], KEYS[1]];

        let config = loaded(&[], &variables, "").unwrap();

        let map: Vec<_> = config.profiles[0].map.iter().map(|(pattern, image)| format!("{pattern}={image}")).collect();
        assert_eq!(map, ["**=ours"]);
    }

    #[test]
    fn variables_of_a_profile_count_as_those_of_the_process_would_and_secrets_go_first() {
        let file = "[profiles.team]\nimages = [\"team/*\"]\n[profiles.team.env]\nGOCDNEXT_LAYER_CACHE_BUCKET = \"cache\"\n\
            AWS_ACCESS_KEY_ID = \"id\"\nAWS_SECRET_ACCESS_KEY = \"wrong\"\n[profiles.team.secrets]\n\
            AWS_SECRET_ACCESS_KEY = \"{{secret:A}}\"\n";
        let config = loaded(&[], &[OPEN, ("LONGSHORE_SECRET_A", "right")], file).unwrap();

        let Source::Static { secret_access_key, .. } = source(&config) else { panic!("no keys") };
        assert_eq!(format!("{secret_access_key:?}"), r#"["A"]"#);
        let unknown = file.replace("AWS_ACCESS_KEY_ID", "AWS_ACESS_KEY_ID");
        let told = loaded(&[], &[OPEN, ("LONGSHORE_SECRET_A", "right")], &unknown).unwrap_err();
        assert!(told.contains("AWS_ACESS_KEY_ID means nothing here; did you mean AWS_ACCESS_KEY_ID?"), "{told}");
    }

    #[test]
    fn every_source_of_keys_is_read_from_its_table() {
        let of = |keys: &str| {
            let file = format!("[profiles.team]\nimages = [\"team/*\"]\nstore = \"s3://team-cache/x\"\ncredentials = {keys}\n");
            loaded(&[], &[OPEN, ("LONGSHORE_SECRET_A", "a")], &file).map(|config| format!("{:?}", source(&config)))
        };
        for (keys, parts) in [
            ("\"environment\"", &["Environment"][..]),
            ("{ source = \"instance\" }", &["Instance"]),
            ("{ source = \"file\", file = \"/f\", section = \"s\" }", &["File", "\"/f\"", "\"s\""]),
            ("{ source = \"web-identity\", role_arn = \"arn:aws:iam::1:role/r\" }", &["WebIdentity", "team-cache/x/*"]),
            (
                "{ source = \"assume-role\", role_arn = \"arn:aws:iam::1:role/r\", external_id = \"{{secret:A}}\", duration = \"20m\", from = \"web-identity\" }",
                &["AssumeRole", "[\"A\"]", "1200s", "team-cache/x/*", "from: WebIdentity"],
            ),
            (
                "{ source = \"assume-role\", role_arn = \"arn:aws:iam::1:role/r\", session_policy = \"none\", from = { source = \"file\", section = \"b\" } }",
                &["policy: None", "from: File", "\"b\""],
            ),
            ("{ source = \"static\", access_key_id = \"id\", secret_access_key = \"{{secret:A}}\" }", &["Static", "[\"A\"]"]),
        ] {
            let found = of(keys).unwrap();
            assert!(parts.iter().all(|part| found.contains(part)), "{keys}: {found}");
        }
        for (keys, why) in [
            ("{ source = \"vault\" }", "must be one of static, hmac"),
            ("{ role_arn = \"arn:aws:iam::1:role/r\" }", "no keys to the bucket"),
            ("{ source = \"assume-role\" }", "role_arn  must be stated"),
            ("{ source = \"assume-role\", role_arn = \"r\" }", "a role is named by its ARN"),
            ("{ source = \"assume-role\", role_arn = \"arn:aws:iam::1:role/r\", duration = \"1m\" }", "must be at least 15m"),
            (
                "{ source = \"assume-role\", role_arn = \"arn:aws:iam::1:role/r\", from = \"sso\" }",
                "\"sso\": must be one of static",
            ),
            ("{ source = \"instance\", section = \"s\" }", "section  line 4  is nothing that instance takes"),
            ("{ source = \"file\", access_key_id = \"id\" }", "is stated too; one of the two is enough"),
            ("{ source = \"static\", access_key_id = \"id\" }", "needs profiles.team.secret_access_key beside it"),
            ("{ source = \"google-metadata\" }", "google-metadata is Google's, and the store is not"),
            ("{ source = \"static\", access_key_id = \"id\", secret_access_key = \"{{secret:B}}\" }", "secret B is in none"),
            ("{ source = \"file\", file = \"{{secret:A}}\" }", "refers to a secret, which only keys may"),
        ] {
            let told = of(keys).unwrap_err();
            assert!(told.contains(why), "{keys}: {told}");
        }
    }

    #[test]
    fn who_carries_a_token_cannot_offer_to_pay() {
        let file = |more: &str| {
            format!(
                "[profiles.team]\nimages = [\"team/*\"]\nstore = \"gs://team-cache\"\ncredentials = \"google-metadata\"\n{more}"
            )
        };

        assert!(stores(&[], &file("")).is_ok());
        let told = stores(&[], &file("request_payer = true")).unwrap_err();
        assert!(told.contains("request_payer  line 5  has no meaning where requests carry a token"), "{told}");
    }

    #[test]
    fn a_secret_that_is_written_out_is_refused_where_everybody_can_read_it_and_else_warned_of() {
        let text = "[profiles.default]\nstore = \"s3://team-cache\"\naccess_key_id = \"id\"\nsecret_access_key = \"MARK\"\n";
        let load = |is_exposed| {
            let file = crate::config::File { path: "config.toml".into(), text: text.into(), is_exposed };
            let environment = [OPEN].into_iter().collect();
            crate::config::load(&crate::config::Sources { file: Some(file), environment, ..Default::default() })
        };

        let told = load(true).unwrap_err().to_string();
        assert!(told.contains("secret_access_key  line 4  a secret in a file that everybody"), "{told}");
        let warnings = load(false).unwrap().warnings;
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].starts_with("profiles.default.secret_access_key in config.toml, line 4, holds a secret"),
            "{warnings:?}"
        );
        assert!(!format!("{told}{warnings:?}").contains("MARK"));
    }

    #[test]
    fn profiles_that_tie_or_that_nobody_could_reach_are_mistakes() {
        let team = |name: &str, images: &str| format!("[profiles.{name}]\nimages = [{images}]\nstore = \"/{name}\"\n");
        for (file, why) in [
            (team("a", "\"x/*\"") + &team("b", "\"x/**\""), "x/** ties with x/* of profile a"),
            (team("a", "\"x/y\"") + &team("b", "\"x/y\""), "x/y ties with x/y of profile a"),
            ("[profiles.a]\nstore = \"/a\"\n".into(), "profiles.a  has no images, and no listener names it"),
            (team("a", "\"X\""), "a pattern is components"),
            (team("a", "\"x\"") + "[server]\nlisten = [\"localhost:5000=b\"]", "there is no profile b"),
            ("[profiles.\"a b\"]\n".into(), "a profile's name is 1 to 64 letters"),
            ("[profiles.a]\nimages = [\"a/*\"]\n".into(), "nothing says where to keep the bytes"),
            (team("a", "\"x\"") + "map = { \"x/*\" = \"y\", \"x/**\" = \"z\" }", "mean the same images"),
            (team("a", "\"x\"") + "map = { \"x/*\" = \"Y\" }", "a repository name is components"),
        ] {
            let told = stores(&[], &file).unwrap_err();
            assert!(told.contains(why), "{file}: {told}");
        }
        let apart = team("a", "\"x/*\"") + &team("b", "\"x/y\", \"z/**\"");
        assert!(stores(&[], &apart).is_ok());
        assert!(stores(&[], "[server]\nlisten = [\"localhost:5000=a\"]\n[profiles.a]\nstore = \"/a\"\n").is_ok());
    }

    #[test]
    fn a_mistake_hides_no_other() {
        let file = "[profiles.a]\nstore = \"s3://{{secret:X}}\"\nendpoint = \"minio\"\naccess_key_id = \"{{secret:ID}}\"\n\
            secret_access_key = \"k ey\"\n";

        let told = stores(&[], file).unwrap_err();

        for part in [
            "refers to a secret, which only keys may",
            "a URL begins with",
            "secret ID is in none",
            "a secret access key has no spaces",
            "has no images",
        ] {
            assert!(told.contains(part), "{part} is not in {told}");
        }
    }

    // It was seconds where each was compared with each.
    #[test]
    fn many_patterns_of_many_profiles_are_compared_in_no_time() {
        let images = |team: usize| (0..20).map(|image| format!("\"team-{team}/app-{image}/*\"")).collect::<Vec<_>>().join(",");
        let file: String =
            (0..300).map(|team| format!("[profiles.p{team}]\nimages = [{}]\nstore = \"/x\"\n", images(team))).collect();
        let profiles = loaded(&[], &[OPEN], &file).unwrap().profiles;
        let mut layers = Layers { stack: Vec::new(), problems: Problems::default(), profile: String::new(), secrets: None };

        let began = std::time::Instant::now();
        refuse_ties(&mut layers, &profiles);

        assert!(layers.problems.is_empty() && began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[test]
    fn ten_mistakes_are_ten_lines() {
        let told = loaded(
            &[("drain", "5")],
            &[("LONGSHORE_PATIENCE", "0s"), ("LONGSHORE_BUKET", "b")],
            "[log]\nlevel = \"loud\"\n[secrets]\nsources = [\"vault\"]\n[profiles.a]\nimages = [\"A\"]\nstore = \"s3://team-cache\"\n\
             region = \"Ü\"\n[profiles.b]\nstore = \"s4://x\"\nimages = [\"b\"]\n[profiles.c]\nimages = [\"c\"]\n\
             store = \"s3://cache-c\"\naccess_key_id = \"x\"\nprefix = \"a//b\"\n",
        )
        .unwrap_err();

        let lines = told.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   ")).count();
        assert!(lines >= 10, "{lines}: {told}");
    }
}
