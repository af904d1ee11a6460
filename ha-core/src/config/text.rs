//! Reading a configuration from TOML text.

use super::{Checked, Config, ConfigError};

impl Config {
    /// Reads a configuration from TOML. Unknown keys are errors. The values are not checked yet: see
    /// [`Config::check`].
    ///
    /// ```
    /// let config = ha_core::config::Config::from_toml(r#"
    ///     cluster = "mail"
    ///     nodes = [{ name = "a" }, { name = "b" }]
    ///     links = [{ name = "lan", interval = "20ms", suspect = "100ms", dead = "200ms" }]
    ///     groups = [{ name = "smtp", mirrored = true, resources = [{ name = "server" }] }]
    ///     fence = { timeout = "200ms", scope = "incarnation" }
    /// "#)?;
    /// assert_eq!(config.nodes[1].name, "b");
    /// # Ok::<_, ha_core::config::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// [`ConfigError::Text`] with line and column.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| {
            let (line, column) = place(text, error.span().map_or(0, |span| span.start));
            ConfigError::Text { line, column, message: error.message().into() }
        })
    }
}

impl Checked {
    /// Reads a configuration from TOML and checks it.
    ///
    /// # Errors
    /// [`ConfigError::Text`] if it cannot be read, [`ConfigError::Problems`] if it is not right.
    pub fn from_toml(text: &str) -> Result<Self, ConfigError> {
        Ok(Config::from_toml(text)?.check()?)
    }
}

fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before.get(line_start..).unwrap_or_default().chars().count();
    (before.matches('\n').count() + 1, column + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{FenceConfig, GroupConfig, LinkConfig, ResourceConfig, TimingConfig};
    use crate::{FenceScope, NodeId};
    use std::time::Duration;

    const PAIR: &str = r#"
cluster = "mail"
nodes = [{ name = "a" }, { name = "b" }]

[[links]]
name = "lan"
interval = "20ms"
suspect = "100ms"
dead = "200ms"

[[links]]
name = "tty"
interval = "50ms"
suspect = "125ms"
dead = "250ms"
payload_bytes = 34
bits_per_second = 115200

[[groups]]
name = "smtp"
preferred = 1
mirrored = true
weight = 3
address_lifetime = "2s"

[[groups.resources]]
name = "server"
start_timeout = "1s 500ms"

[fence]
timeout = "200ms"
effect = "10ms"
scope = "processes"

[timing]
boot_wait = "1500ms"
"#;

    fn built() -> Config {
        let ms = Duration::from_millis;
        Config::pair("mail", "a", "b")
            .link(LinkConfig::datagram("lan", ms(20), ms(200)))
            .link(LinkConfig::serial("tty", ms(50), ms(250), 115_200))
            .group(
                GroupConfig::new("smtp")
                    .mirrored()
                    .preferring(NodeId(1))
                    .with_weight(3)
                    .with_address_lifetime(ms(2000))
                    .then(ResourceConfig::new("server").with_start_timeout(ms(1500))),
            )
            .fence(FenceConfig::new(ms(200)).with_effect(ms(10)).with_scope(FenceScope::Processes))
            .timing(TimingConfig::default().with_boot_wait(ms(1500)))
    }

    #[test]
    fn text_builder_and_serde_give_the_same_value() {
        let read = Config::from_toml(PAIR).unwrap();
        assert_eq!(read, built());
        assert_eq!(Config::from_toml(&toml::to_string(&built()).unwrap()).unwrap(), built());
        let json = serde_json::to_string(&built()).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&json).unwrap(), built());
        assert_eq!(*Checked::from_toml(PAIR).unwrap(), built());
    }

    /// Replaces a text, expects the error to name that line, and returns its message.
    #[track_caller]
    fn refused(from: &str, to: &str) -> String {
        let before = PAIR.find(from).unwrap();
        match Config::from_toml(&PAIR.replacen(from, to, 1)).unwrap_err() {
            ConfigError::Text { line, message, .. } => {
                assert_eq!(line, PAIR[..before].matches('\n').count() + 1, "{message}");
                message
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn an_arbiter_and_a_watchdog_read_like_they_are_built() {
        use crate::config::{ArbiterConfig, ArbiterKind, WatchdogConfig};
        let ms = Duration::from_millis;
        let text = "[arbiter]\nkind = \"third-party\"\nlease = \"5s\"\nrenew_interval = \"1s\"\n\
                    answer_timeout = \"500ms\"\ntakeover_wait = \"9s\"\ntrusts_host_pauses = true\n\
                    [watchdog]\ntimeout = \"1500ms\"\n";
        let arbiter = ArbiterConfig::new(ArbiterKind::ThirdParty, ms(5000))
            .with_takeover_wait(Some(ms(9000)))
            .with_trusts_host_pauses(true);
        let built = built().arbiter(arbiter).watchdog(WatchdogConfig::new(ms(1500)));
        assert_eq!(Config::from_toml(&format!("{PAIR}{text}")).unwrap(), built);
        assert_eq!(Config::from_toml(&toml::to_string(&built).unwrap()).unwrap(), built);
    }

    #[test]
    fn unknown_keys_are_named_with_their_line() {
        let message = refused("boot_wait", "boot_wiat");
        assert!(message.contains("boot_wiat") && message.contains("boot_wait"), "{message}");
    }

    #[test]
    fn values_of_the_wrong_kind_say_what_would_be_right() {
        let message = refused("\"100ms\"", "\"100\"");
        assert!(message.contains("found \"100\"") && message.contains("\"200ms\""), "{message}");
        let message = refused("\"processes\"", "\"power\"");
        assert!(message.contains("incarnation"), "{message}");
        refused("preferred = 1", "preferred = -1");
    }

    #[test]
    fn broken_text_is_refused_with_line_and_column() {
        let error = Config::from_toml("cluster = \"mail\"\nnodes = [[[").unwrap_err();
        assert!(matches!(error, ConfigError::Text { line: 2, column: 12, .. }), "{error:?}");
        assert!(error.to_string().starts_with("line 2, column 12: "), "{error}");
    }

    #[test]
    fn a_missing_section_is_named() {
        let error = Config::from_toml("cluster = \"mail\"").unwrap_err();
        assert!(error.to_string().contains("nodes"), "{error}");
    }

    #[test]
    fn reading_and_checking_at_once_reports_both_kinds() {
        assert!(matches!(Checked::from_toml("cluster ="), Err(ConfigError::Text { .. })));
        let two = PAIR.replacen("\"b\"", "\"a\"", 1);
        assert!(matches!(Checked::from_toml(&two), Err(ConfigError::Problems(_))));
    }
}
