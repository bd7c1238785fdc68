//! What a person sees once the region is ready.

use std::fmt::Write;

use crate::data::Data;
use crate::options::Run;
use crate::topology::Topology;

/// What runs where, and what to try.
pub(crate) fn greeting(data: &Data, topology: &Topology, options: &Run) -> String {
    let mut text = String::from("\nthe region is ready\n\n");
    // Writing to a String cannot fail.
    let _ = write_nodes(&mut text, topology);
    let _ = writeln!(
        text,
        "  router             API at http://{}    DNS at {} (UDP and TCP)",
        topology.control.api, topology.control.dns
    );
    let _ = write_trials(&mut text, data, topology, options);
    text
}

fn write_nodes(text: &mut String, topology: &Topology) -> std::fmt::Result {
    for member in &topology.members {
        let place = match &member.stamp {
            Some(stamp) => format!("stamp {stamp}"),
            None => "front door".to_owned(),
        };
        writeln!(
            text,
            "  {:<6} {place:<11} pulls at {:<15}  readiness and metrics at http://{}/metrics",
            member.name.as_str(),
            member.pull.to_string(),
            member.admin
        )?;
    }
    Ok(())
}

fn write_trials(text: &mut String, data: &Data, topology: &Topology, options: &Run) -> std::fmt::Result {
    let front = topology.front().map(|member| member.pull.to_string()).unwrap_or_default();
    let root = data.root().display();
    if !options.no_seed {
        writeln!(text, "\ntry")?;
        writeln!(text, "  docker pull {front}/contoso/hello:v1 && docker run --rm {front}/contoso/hello:v1")?;
        writeln!(text, "  ctr images pull --plain-http {front}/contoso/multi:v1")?;
        writeln!(text, "  skopeo copy --src-tls-verify=false docker://{front}/fabrikam/base:v1 dir:img")?;
        writeln!(text, "  curl -i http://{front}/v2/contoso/hello/manifests/v1")?;
        if let Some(node) = topology.members.first() {
            let (zone, pull) = (&options.zone, node.pull);
            writeln!(text, "  curl -i -H 'Host: contoso.{zone}' http://{pull}/v2/hello/tags/list")?;
        }
    }
    writeln!(text, "\nyour own images")?;
    // By its path: who started it with cargo has no `region` to call.
    let region =
        std::env::current_exe().map_or_else(|_| "region".to_owned(), |path| path.display().to_string());
    writeln!(
        text,
        "  docker save -o app.tar app:v1 && {region} import app.tar contoso/app:v1 --data {root}"
    )?;
    let control = topology.control;
    let router =
        if options.port_offset == 0 { String::new() } else { format!(" --router http://{}", control.api) };
    writeln!(text, "\nmove a registry while it is pulled from, and see what goes on")?;
    writeln!(text, "  {region} stampctl{router} registry move contoso --to b --quiet 5s --watch")?;
    writeln!(text, "  {region} stampctl{router} registry ls    … node ls, stamp ls, migration ls, audit")?;
    writeln!(text, "  dig @{} -p {} contoso.{} +short", control.dns.ip(), control.dns.port(), options.zone)?;
    if options.azurite {
        writeln!(text, "storage accounts: azurite, which keeps them in {}", data.azurite().display())?;
    }
    write!(text, "\nlogs: {root}/logs    Ctrl-C ends all of it")
}
