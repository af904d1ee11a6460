//! What resources that outlive the engine ask of the rest of the configuration.

use super::Findings;
use crate::FenceScope;
use crate::config::Config;

impl Findings {
    pub(super) fn outliving(&mut self, config: &Config) {
        for (place, group) in config.groups.iter().enumerate() {
            let Some(r) = group.resources.iter().position(|r| r.outlives_engine) else { continue };
            let at = format!("groups[{place}].resources[{r}].outlives_engine");
            if config.fence.as_ref().is_some_and(|f| f.scope != FenceScope::Incarnation) {
                self.add(
                    &at,
                    "true, with a fence device of another scope than incarnation",
                    "a device that ends everything of a node",
                    "what outlives the engine's processes is not ended with them, so such an \"off\" proves nothing",
                    "use a power switch or the like, or leave outlives_engine out",
                );
            }
            if !group.address_lifetime.is_zero() {
                self.add(
                    &at,
                    format_args!("true, with address_lifetime in group \"{}\"", group.name),
                    "an address that does not expire",
                    "while the engine is away nobody renews an address that expires by itself",
                    format_args!("leave groups[{place}].address_lifetime or outlives_engine out"),
                );
            }
        }
    }
}
