//! The settings of the router, as the file that `router serve` reads.

use std::path::PathBuf;

use serde::Serialize;

use crate::data::Data;
use crate::topology::{Control, REGION};

#[derive(Serialize)]
struct Settings<'a> {
    region: &'a str,
    api: Api,
    store: Store,
    dns: Dns<'a>,
    signals: Signals,
}

#[derive(Serialize)]
struct Signals {
    scaled_bins: u32,
}

#[derive(Serialize)]
struct Api {
    listen: String,
}

#[derive(Serialize)]
struct Store {
    kind: &'static str,
    path: PathBuf,
}

#[derive(Serialize)]
struct Dns<'a> {
    listen: [String; 1],
    zone: Zone<'a>,
}

#[derive(Serialize)]
struct Zone<'a> {
    name: &'a str,
}

/// Bins of a window, where a bin is no minute.
const SCALED_BINS: u32 = 60;

/// The text of the router's settings.
pub(crate) fn router_settings(
    data: &Data,
    control: &Control,
    zone: &str,
) -> Result<String, toml::ser::Error> {
    let settings = Settings {
        region: REGION,
        api: Api { listen: control.api.to_string() },
        store: Store { kind: "embedded", path: data.router_store() },
        dns: Dns { listen: [control.dns.to_string()], zone: Zone { name: zone } },
        signals: Signals { scaled_bins: SCALED_BINS },
    };
    Ok(format!("# Written by `region` at every start; changes are lost.\n\n{}", toml::to_string(&settings)?))
}

#[cfg(test)]
mod tests {
    use dataproxy_router::config::Config;

    use super::*;
    use crate::topology::Topology;

    #[test]
    fn the_router_accepts_the_settings_that_are_written_for_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = Data::open(&dir.path().join("a \"quoted\" folder")).expect("a folder");
        let control = Topology::new(1000).expect("names").control;
        let text = router_settings(&data, &control, "example.test").expect("TOML");
        std::fs::write(data.router_settings(), text).expect("written");
        let config = Config::load(&data.router_settings()).expect("valid");
        assert_eq!(config.api.listen, control.api);
        let dns = config.dns.expect("DNS");
        assert_eq!((dns.listen, dns.zone.name.as_str()), (vec![control.dns], "example.test"));
    }
}
