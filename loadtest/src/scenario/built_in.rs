//! The scenarios that come with the tool.

/// A scenario by its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BuiltIn {
    pub(crate) name: &'static str,
    /// Its file.
    pub(crate) text: &'static str,
}

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$(BuiltIn { name: $name, text: include_str!(concat!("../../scenarios/", $name, ".toml")) }),*]
    };
}

/// Every one, by name.
pub(crate) static BUILT_IN: [BuiltIn; 11] = built_in![
    "churn",
    "cold",
    "drain",
    "herd",
    "hot-node",
    "mixed-day",
    "noisy-neighbour",
    "ranges",
    "rebind",
    "slow-readers",
    "warm",
];
