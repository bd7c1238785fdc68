//! What the region keeps running: its router, its nodes, and Azurite where that holds the accounts.

use std::path::PathBuf;

use crate::azurite::Azurite;
use crate::data::Data;
use crate::error::RegionError;
use crate::node_process::{self, Running};
use crate::readiness;
use crate::topology::{Control, Member};

/// One process of the region.
#[derive(Clone, Debug)]
pub(crate) enum Charge {
    Router(Control),
    Node(Member),
    Azurite(Azurite),
}

impl Charge {
    /// As messages call it.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Router(_) => "router".to_owned(),
            Self::Node(member) => format!("node {}", member.name),
            Self::Azurite(_) => "azurite".to_owned(),
        }
    }

    /// Where all that it says is kept.
    pub(crate) fn log(&self, data: &Data) -> PathBuf {
        match self {
            Self::Router(_) => data.log("router"),
            Self::Node(member) => data.log(member.name.as_str()),
            Self::Azurite(_) => data.log("azurite"),
        }
    }

    pub(crate) fn start(&self, data: &Data) -> Result<Running, RegionError> {
        let command = match self {
            Self::Router(_) => node_process::command("control", &data.router_settings())?,
            Self::Node(member) => node_process::command("node", &data.settings(member))?,
            Self::Azurite(azurite) => azurite.command(data)?,
        };
        node_process::start(command, &self.log(data))
    }

    /// Returns once it serves.
    pub(crate) async fn ready(&self) {
        match self {
            Self::Router(control) => readiness::ready(control.api).await,
            Self::Node(member) => readiness::ready(member.admin).await,
            Self::Azurite(azurite) => readiness::listens(azurite.address).await,
        }
    }

    /// Why it does not serve, for a message.
    pub(crate) async fn said(&self) -> String {
        match self {
            Self::Router(control) => readiness::said(control.api).await,
            Self::Node(member) => readiness::said(member.admin).await,
            Self::Azurite(azurite) => format!("nothing listens at {}", azurite.address),
        }
    }
}
