//! Errors point at the right place and say what is allowed; the reference tells the truth.

use super::*;

const LEAST: &str = "[node]\nname = \"n1\"\n[bindings]\nsource = \"file\"\npath = \"bindings.json\"\n";

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("/etc/dataproxy/node.toml"), text).map_err(|error| error.to_string())
}

fn error_of(more: &str) -> String {
    parse(&format!("{LEAST}{more}")).map(|_| ()).expect_err(more)
}

#[test]
fn a_node_needs_only_a_name_and_its_bindings() {
    let config = parse(LEAST).unwrap();
    assert!(config.is_front());
    assert_eq!(config.node.region.as_str(), "local");
    assert_eq!(config.cache, CacheConfig::default());
    assert_eq!(config.listen, Listen::default());
    assert_eq!(config.bindings, BindingsSource::File { path: "/etc/dataproxy/bindings.json".into() });
}

#[test]
fn every_wrong_setting_is_named_with_its_line_and_what_is_allowed() {
    for (more, message) in [
        (
            "[cache]\nmemory = \"256 MB\"",
            "/etc/dataproxy/node.toml:7: cache.memory: \"256 MB\" is not an amount of bytes; a whole number and one of B, KiB, MiB, GiB, TiB is allowed, such as \"256 MiB\"",
        ),
        (
            "[cache]\nmemory = 256",
            "/etc/dataproxy/node.toml:7: cache.memory: \"256\" is not an amount of bytes; a whole number and one of B, KiB, MiB, GiB, TiB is allowed, such as \"256 MiB\"",
        ),
        (
            "[cache]\n\nblock = \"3 MiB\"",
            "/etc/dataproxy/node.toml:8: cache.block: 3145728 is out of bounds; a power of two from 4096 to 16777216 is allowed",
        ),
        (
            "[cache]\nblock = \"8 MiB\"",
            "/etc/dataproxy/node.toml:6: cache.fetch_range: 4194304 is out of bounds; a multiple of block is allowed",
        ),
        (
            "[tenancy]\npaths = true",
            "/etc/dataproxy/node.toml:7: tenancy.paths: unknown setting `paths`, expected `path` or `default_registry`",
        ),
        (
            "[listen]\npull = [\"localhost\"]",
            "/etc/dataproxy/node.toml:7: listen.pull: invalid socket address syntax",
        ),
        (
            "[listen]\npull = []",
            "/etc/dataproxy/node.toml:7: listen.pull: empty, and so is listen.tls; a node needs an address to serve pulls at",
        ),
        (
            "[admin]\nlisten = \"127.0.0.1:5000\"",
            "/etc/dataproxy/node.toml:7: admin.listen: 127.0.0.1:5000 is listed twice; an address has one purpose",
        ),
        (
            "[listen]\ntls = [\"127.0.0.1:5443\"]\ncert = \"c.pem\"",
            "/etc/dataproxy/node.toml:6: listen.key: missing; listen.tls needs a certificate and its key",
        ),
        (
            "[listen]\nkey = \"k.pem\"",
            "/etc/dataproxy/node.toml:7: listen.key: set, but listen.tls is empty; name an address for TLS or leave it out",
        ),
        (
            "[listen]\nidle_timeout = \"1 fortnight\"",
            "/etc/dataproxy/node.toml:7: listen.idle_timeout: \"1 fortnight\" is not a duration; a whole number and one of ms, s, m, h, d is allowed, such as \"5s\"",
        ),
        (
            "[listen]\nidle_timeout = \"0s\"",
            "/etc/dataproxy/node.toml:7: listen.idle_timeout: 0ms is out of bounds; 10ms to 1d are allowed",
        ),
        (
            "[front]\ntry_timeout = \"12s\"",
            "/etc/dataproxy/node.toml:7: front.try_timeout: 12s is too short; more than what a node itself takes at most (12s) is allowed",
        ),
        (
            "[front]\ntry_timeout = \"25s\"",
            "/etc/dataproxy/node.toml:6: front.headers_timeout: 25s is too short; more than front.try_timeout (25s) is allowed",
        ),
        (
            "[listen]\nheader_size = \"1 KiB\"",
            "/etc/dataproxy/node.toml:7: listen.header_size: 1024 bytes is out of bounds; 8 KiB to 1 MiB are allowed",
        ),
        (
            "[listen]\nwrite_quantum = \"1 KiB\"",
            "/etc/dataproxy/node.toml:7: listen.write_quantum: 1024 bytes is out of bounds; 64 KiB to 64 MiB are allowed",
        ),
        (
            "[listen]\ntls_buffer = \"8 MiB\"",
            "/etc/dataproxy/node.toml:7: listen.tls_buffer: 8388608 bytes is out of bounds; 16 KiB to 4 MiB are allowed",
        ),
        (
            "[listen]\nmax_connections = 0",
            "/etc/dataproxy/node.toml:7: listen.max_connections: 0 is out of bounds; 1 to 1000000 are allowed",
        ),
        (
            "[accounts.main]\nkind = \"local\"",
            "/etc/dataproxy/node.toml:6: accounts.main.path: missing; an account of kind \"local\" needs the path of its folder",
        ),
        (
            "[accounts.main]\nkind = \"local\"\npath = \"x\"\nmax_in_flight = 3",
            "/etc/dataproxy/node.toml:9: accounts.main.max_in_flight: 3 is out of bounds; 4 to 65536 are allowed",
        ),
        (
            "[accounts.main]\nkind = \"local\"\npath = \"x\"\nclients = \"open\"",
            "/etc/dataproxy/node.toml:9: accounts.main.clients: open, but no client can reach a folder of this machine; leave it out",
        ),
        (
            "[accounts.main]\nkind = \"local\"\npath = \"x\"\negress_limit = 7",
            "/etc/dataproxy/node.toml:9: accounts.main.egress_limit: \"7\" is not an amount of bytes",
        ),
        (
            "[delivery]\ndata_endpoint = \"https://data.test\"",
            "/etc/dataproxy/node.toml:7: delivery.data_endpoint: set without delivery.key; URLs of nodes are signed: name the file of the region's key",
        ),
        (
            "[delivery]\nkey = \"k\"\ndata_endpoint = \"https://data.test/x\"",
            "/etc/dataproxy/node.toml:8: delivery.data_endpoint: \"https://data.test/x\" is not a data endpoint: it has a path, a query or a fragment; allowed is a URL without a path",
        ),
        (
            "[delivery]\nurl_valid = \"9s\"",
            "/etc/dataproxy/node.toml:7: delivery.url_valid: 9s is out of bounds; 10s to 1d are allowed",
        ),
        (
            "[accounts.main]\nkind = \"ftp\"",
            "/etc/dataproxy/node.toml:7: accounts.main.kind: unknown variant `ftp`, expected one of `local`, `azure`, `s3`, `registry`",
        ),
        (
            "[accounts.main]\nkind = \"local\"\npath = \"x\"\nca_file = \"ca.pem\"",
            "/etc/dataproxy/node.toml:9: accounts.main.ca_file: set, but an account of kind \"local\" has none; leave it out",
        ),
        (
            "[accounts.hub]\nkind = \"registry\"",
            "/etc/dataproxy/node.toml:6: accounts.hub.url: missing; an account of kind \"registry\" needs the URL of the registry",
        ),
        (
            "[accounts.hub]\nkind = \"registry\"\nurl = \"docker.io\"",
            "/etc/dataproxy/node.toml:8: accounts.hub.url: \"docker.io\" is not a registry's URL; http:// or https://, a host",
        ),
        (
            "[accounts.hub]\nkind = \"registry\"\nurl = \"https://me:secret@a\"",
            "/etc/dataproxy/node.toml:8: accounts.hub.url: it holds a user; set username and password_file or password_env",
        ),
        (
            "[accounts.hub]\nkind = \"registry\"\nurl = \"https://a\"\npath = \"x\"",
            "/etc/dataproxy/node.toml:9: accounts.hub.path: set, but an account of kind \"registry\" has none; leave it out",
        ),
        (
            "[accounts.hub]\nkind = \"registry\"\nurl = \"https://a\"\nusername = \"me\"",
            "/etc/dataproxy/node.toml:9: accounts.hub.username: set without a password; name its place by password_file or password_env",
        ),
        (
            "[accounts.hub]\nkind = \"registry\"\nurl = \"https://a\"\npassword_env = \"P\"",
            "/etc/dataproxy/node.toml:6: accounts.hub.username: missing; a password belongs to a username",
        ),
        (
            "[accounts.hub]\nkind = \"registry\"\nurl = \"https://a\"\nusername = \"me\"\npassword_env = \"P\"\npassword_file = \"p\"",
            "/etc/dataproxy/node.toml:10: accounts.hub.password_env: set beside password_file; a password has one place",
        ),
        (
            "[accounts.hub]\nkind = \"registry\"\nurl = \"https://a\"\nusername = \"me\"\npassword_env = \"\"",
            "/etc/dataproxy/node.toml:10: accounts.hub.password_env: not a name of an environment variable; the name of the one",
        ),
        (
            "[accounts.hub]\nkind = \"registry\"\nurl = \"http://a\"\nca_file = \"ca.pem\"",
            "/etc/dataproxy/node.toml:9: accounts.hub.ca_file: set, but the url is not https; there is nobody to vouch for",
        ),
        (
            "[accounts.hub]\nkind = \"registry\"\nurl = \"https://a\"\nrepository_prefix = \"../x\"",
            "/etc/dataproxy/node.toml:9: accounts.hub.repository_prefix: a repository is 1 to 255 characters",
        ),
        (
            "[log]\nlevel = \"loud\"",
            "/etc/dataproxy/node.toml:7: log.level: \"loud\" is not a level; error, warn, info, debug, trace, off or directives such as \"info,access=off\" are allowed",
        ),
        ("[node", "/etc/dataproxy/node.toml:6: "),
        (
            "[colour]\nred = 1",
            "/etc/dataproxy/node.toml:6: colour: unknown setting `colour`, expected one of ",
        ),
    ] {
        let error = error_of(more);
        assert!(error.starts_with(message), "{more}\n  is reported as {error}\n  instead of     {message}");
    }
}

#[test]
fn a_password_in_place_of_its_variables_name_is_refused_and_not_repeated() {
    for password in ["canary=", "canary\\u0000"] {
        let more = format!(
            "[accounts.hub]\nkind = \"registry\"\nurl = \"https://a\"\nusername = \"me\"\npassword_env = \"{password}\""
        );
        let error = error_of(&more);
        assert!(
            error.contains("accounts.hub.password_env: not a name of an environment variable"),
            "{error}"
        );
        assert!(!error.contains("canary"), "{error}");
    }
}

#[test]
fn a_missing_or_malformed_name_is_named() {
    let error =
        parse("[node]\nregion = \"x\"\n[bindings]\nsource = \"file\"\npath = \"b\"").expect_err("no name");
    assert_eq!(error, "/etc/dataproxy/node.toml:1: node: missing setting `name`");
    let error = parse(&LEAST.replace("n1", "N_1")).expect_err("bad name");
    assert_eq!(
        error,
        "/etc/dataproxy/node.toml:2: node.name: node \"N_1\" is not valid: 1 to 63 of a-z, 0-9 and '-' are allowed, with no '-' at either end"
    );
    let error = parse("[node]\nname = \"n1\"\nzone = \"a..b\"\n[bindings]\nsource = \"file\"\npath = \"b\"")
        .expect_err("bad zone");
    assert!(
        error.starts_with("/etc/dataproxy/node.toml:3: node.zone: zone \"a..b\" is not valid; a domain"),
        "{error}"
    );
}

#[test]
fn a_node_that_follows_routers_says_where_others_reach_it() {
    let with = |node: &str, bindings: &str, more: &str| {
        parse(&format!("[node]\nname = \"n1\"\n{node}[bindings]\nsource = \"router\"\n{bindings}{more}"))
    };
    let two = "routers = [\"http://127.0.0.1:7000\", \"https://r2.test/\"]\nsnapshot = \"s.json\"\ntoken_file = \"t\"\n";
    let config = with("stamp = \"a\"\n", two, "").expect("a node");
    let BindingsSource::Router { routers, snapshot, token_file, ca_file } = &config.bindings else {
        panic!("{config:?}")
    };
    assert_eq!(format!("{routers:?}"), "[http://127.0.0.1:7000, https://r2.test]");
    assert_eq!((snapshot.to_str(), ca_file), (Some("/etc/dataproxy/s.json"), &None));
    assert_eq!(token_file.as_deref(), Some(Path::new("/etc/dataproxy/t")));
    assert_eq!(config.address(), Some("127.0.0.1:5000".parse().expect("an address")));
    let own = "stamp = \"a\"\naddress = \"10.0.0.5:5000\"\nadmin_address = \"10.0.0.5:9100\"\n";
    let open = "[listen]\npull = [\"0.0.0.0:5000\"]\n[admin]\nlisten = \"0.0.0.0:9100\"\n";
    assert_eq!(with(own, two, open).expect("a node").admin_address().to_string(), "10.0.0.5:9100");
    with("", two, open).expect("a front door tells nobody of itself");
    let one = "routers = [\"http://a\"]\nsnapshot = \"s\"\n";
    for (node, bindings, more, message) in [
        ("stamp = \"a\"\n", two, open, "node.address: missing; listen.pull has no address by which"),
        ("", "routers = []\nsnapshot = \"s\"\n", "", "bindings.routers: empty"),
        ("", &one.replace("http://a\"", "http://a\", \"http://a/\""), "", "http://a is listed twice"),
        ("", &one.replace("http://a", "a"), "", "\"a\" is not a router's URL"),
        ("", "routers = [\"http://a\"]\n", "", "missing setting `snapshot`"),
        ("", &format!("{one}path = \"x\"\n"), "", "unknown setting `path`"),
    ] {
        let error = with(node, bindings, more).expect_err(message);
        assert!(error.contains(message), "{error}");
    }
}

/// The names that a section's type accepts, read from its own complaint about a name it does not know.
fn accepted(section: &str) -> HashSet<String> {
    let text = if section == "node" || section == "bindings" {
        LEAST.replace(&format!("[{section}]\n"), &format!("[{section}]\nno_such_setting = 1\n"))
    } else {
        format!("{LEAST}[{}]\nno_such_setting = 1\n", section.replace("NAME", "main"))
    };
    let error = parse(&text).expect_err(section);
    let (_, names) = error.split_once("expected ").expect(&error);
    names.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_reference_lists_every_setting_and_no_other() {
    let sections: HashSet<_> = reference::SETTINGS.iter().map(|setting| setting.section).collect();
    for section in sections {
        let listed: HashSet<String> = reference::SETTINGS
            .iter()
            .filter(|setting| setting.section == section)
            .map(|setting| setting.name.to_owned())
            .collect();
        // The tag of an enum is taken off before its fields are read, so it is not in the complaint.
        let mut accepted = accepted(section);
        if section == "bindings" {
            accepted.insert("source".to_owned());
            let routers = "[node]\nname = \"n\"\n[bindings]\nsource = \"router\"\nno_such_setting = 1\n";
            let error = parse(routers).expect_err(section);
            let (_, names) = error.split_once("expected ").expect(&error);
            accepted.extend(names.split('`').skip(1).step_by(2).map(str::to_owned));
        }
        assert_eq!(listed, accepted, "[{section}]");
    }
}

#[test]
fn the_reference_states_the_defaults_that_hold() {
    let mut text = LEAST.replace("[bindings]", "NODE\n[bindings]");
    let mut section = "node";
    let (mut node, mut account) = (String::new(), String::new());
    for setting in reference::SETTINGS {
        let Some(default) = setting.default else { continue };
        if setting.section == "accounts.NAME" {
            account.push_str(&format!("{} = {default}\n", setting.name));
            continue;
        }
        if setting.section == "node" {
            node.push_str(&format!("{} = {default}\n", setting.name));
            continue;
        }
        if setting.section != section {
            section = setting.section;
            text.push_str(&format!("[{section}]\n"));
        }
        text.push_str(&format!("{} = {default}\n", setting.name));
    }
    assert_eq!(parse(&text.replace("NODE\n", &node)), parse(LEAST));
    let least = format!("{LEAST}[accounts.main]\nkind = \"local\"\npath = \"x\"\n");
    assert_eq!(parse(&format!("{least}{account}")), parse(&least));
    // A budget shows only with a folder to apply it to.
    let disk = parse(&format!("{LEAST}[cache]\ndir = \"d\"\n")).unwrap().cache.disk.unwrap();
    assert_eq!(disk.dir, Path::new("/etc/dataproxy/d"));
    assert_eq!(unit::show_bytes(disk.capacity_bytes), "10 GiB");
}

#[test]
fn the_documentation_shows_the_reference() {
    crate::documented::check("configuration.md", "settings", &reference::markdown());
}
