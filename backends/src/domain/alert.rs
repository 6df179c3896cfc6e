//! What about a computer does somebody have to look at? Its alerts, by the names that queries and clients
//! of the API know.

/// Something about a computer that somebody has to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Alert {
    /// Packages can be upgraded.
    PackageUpgrades,
    /// Some of these mend a weakness.
    SecurityUpgrades,
    /// Its own look at its packages failed.
    PackageReporter,
    /// It does not ping.
    ComputerOffline,
    /// It must be restarted.
    ComputerReboot,
}

impl Alert {
    /// Every alert.
    pub const ALL: [Self; 5] = [
        Self::PackageUpgrades,
        Self::SecurityUpgrades,
        Self::PackageReporter,
        Self::ComputerOffline,
        Self::ComputerReboot,
    ];

    /// Its name in queries, `alert:computer-offline`.
    pub fn word(self) -> &'static str {
        match self {
            Self::PackageUpgrades => "package-upgrades",
            Self::SecurityUpgrades => "security-upgrades",
            Self::PackageReporter => "package-reporter",
            Self::ComputerOffline => "computer-offline",
            Self::ComputerReboot => "computer-reboot",
        }
    }

    /// The alert of a name in queries.
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alert| alert.word() == word)
    }

    /// Its type in answers.
    pub fn kind(self) -> &'static str {
        match self {
            Self::PackageUpgrades => "PackageUpgradesAlert",
            Self::SecurityUpgrades => "SecurityUpgradesAlert",
            Self::PackageReporter => "PackageReporterAlert",
            Self::ComputerOffline => "ComputerOfflineAlert",
            Self::ComputerReboot => "ComputerRebootAlert",
        }
    }

    /// For people.
    pub fn summary(self) -> &'static str {
        match self {
            Self::PackageUpgrades => "packages can be upgraded",
            Self::SecurityUpgrades => "there are security upgrades",
            Self::PackageReporter => "its look at its packages failed",
            Self::ComputerOffline => "it was not heard of for a while",
            Self::ComputerReboot => "it must be restarted",
        }
    }

    /// What makes it, for people.
    pub fn description(self) -> &'static str {
        match self {
            Self::PackageUpgrades => "a computer has packages that can be upgraded",
            Self::SecurityUpgrades => "a computer has packages with security upgrades",
            Self::PackageReporter => "a computer failed to look at its packages",
            Self::ComputerOffline => "a computer was not heard of for a while",
            Self::ComputerReboot => "a computer must be restarted",
        }
    }

    /// How bad it is: `info`, `warning` or `danger`.
    pub fn severity(self) -> &'static str {
        match self {
            Self::PackageUpgrades => "info",
            Self::ComputerOffline | Self::ComputerReboot => "warning",
            Self::SecurityUpgrades | Self::PackageReporter => "danger",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_found_by_its_word_and_told_by_a_type_that_says_the_same() {
        for alert in Alert::ALL {
            assert_eq!(Alert::of(alert.word()), Some(alert));
            let kind = alert.kind().to_lowercase();
            assert_eq!(kind, format!("{}alert", alert.word().replace('-', "")));
            assert!(["info", "warning", "danger"].contains(&alert.severity()));
        }
        assert_eq!(Alert::of("ComputerOfflineAlert"), None);
    }
}
