//! Owns the decision whether a region may start: the key files, the vault and the control store must agree about region and
//! roots, and only when all three are empty is anything minted, in the order key file, vault, control. A start that was cut
//! between those is adopted. All else refuses and says which differs: a lost vault must never be answered with a new one.
//!
//! A process whose vault has a region opens its [`Host`](crate::host::Host) at once. One without waits for the first `Hello`,
//! then: [`Held::read`], [`decide`], for [`Decision::Mint`] the key file, [`found`], and only then the host.

use crate::root::Roots;
use crate::rows::{MetaRow, Rows, RowsError};
use crate::seam::{Rng, random};

/// What the control store knows, from `Hello`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Control {
    /// Its RegionId.
    pub region_id: Option<String>,
    /// The fingerprints of roots that it knows.
    pub roots: Vec<String>,
    /// Whether it holds no cluster and no backup.
    pub is_empty: bool,
}

/// What the host has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Fingerprints of the roots in key files, the current one first.
    pub roots: Vec<String>,
    /// The vault's meta row.
    pub vault: Option<MetaRow>,
    /// Whether the vault has a cluster, tombstones included.
    pub has_clusters: bool,
}

impl Held {
    /// Reads what the vault has beside these roots; `None` where there is no key file.
    ///
    /// # Errors
    /// The vault's failure.
    pub fn read(roots: Option<&Roots>, rows: &dyn Rows) -> Result<Self, RowsError> {
        let mut held =
            Self { roots: roots.map(Roots::fingerprints).unwrap_or_default(), vault: None, has_clusters: false };
        rows.read(&mut |tx| {
            held.vault = tx.meta()?;
            held.has_clusters = !tx.clusters()?.is_empty();
            Ok(())
        })?;
        Ok(held)
    }
}

/// How to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is anywhere: make a root, write its file durably, then [`found`].
    Mint,
    /// A first start was cut: [`found`] what is missing; control takes over region and roots from the answer.
    Adopt,
    /// All three agree.
    Go,
    /// They do not; the sentence says which differs.
    Refuse(String),
}

/// Decides from what the three hold.
pub fn decide(held: &Held, control: &Control) -> Decision {
    let Some(vault) = &held.vault else {
        return decide_without_vault(held, control);
    };
    if let Err(reason) = check_vault(held, vault) {
        return Decision::Refuse(reason);
    }
    let Some(region_id) = &control.region_id else {
        if !control.is_empty || !control.roots.is_empty() {
            return refuse("the control store holds clusters, backups or roots but no region");
        }
        if held.has_clusters {
            return refuse(
                "the control store is new but the vault has clusters: one of them was lost or is another region's",
            );
        }
        return Decision::Adopt;
    };
    if *region_id != vault.region_id {
        return refuse(&format!("the control store is region {region_id}, the vault is region {}", vault.region_id));
    }
    if control.roots.is_empty() {
        return refuse("the control store has a region but knows no root");
    }
    match missing(&control.roots, &held.roots) {
        Some(root) => refuse(&format!("the control store knows root {root}, which no key file holds")),
        None => Decision::Go,
    }
}

/// Whether the key files fit the vault, which is all that a host needs to serve its HSMs before the first `Hello`.
///
/// # Errors
/// The sentence that says what differs.
pub fn check_vault(held: &Held, vault: &MetaRow) -> Result<(), String> {
    if held.roots.is_empty() {
        return Err(
            "the vault is there but its root key is not: put the key file back, without it nothing opens".to_owned()
        );
    }
    if vault.roots.is_empty() {
        return Err("the vault names no root".to_owned());
    }
    match missing(&vault.roots, &held.roots) {
        Some(root) => Err(format!("the vault is sealed under root {root}, which no key file holds")),
        None => Ok(()),
    }
}

fn decide_without_vault(held: &Held, control: &Control) -> Decision {
    if control.region_id.is_some() || !control.roots.is_empty() || !control.is_empty {
        return refuse("the control store knows this region but the vault is empty: it was lost, or it is another one");
    }
    if held.has_clusters {
        return refuse("the vault has clusters but no region");
    }
    if held.roots.is_empty() { Decision::Mint } else { Decision::Adopt }
}

fn refuse(reason: &str) -> Decision {
    Decision::Refuse(reason.to_owned())
}

fn missing<'a>(wanted: &'a [String], there: &[String]) -> Option<&'a String> {
    wanted.iter().find(|root| !there.contains(root))
}

/// Writes the vault's meta row where there is none, under a new RegionId, and adds roots that it does not name yet. Returns
/// the RegionId: 26 characters of base32, random.
///
/// # Errors
/// The vault's failure.
pub fn found(roots: &Roots, rows: &dyn Rows, rng: &dyn Rng) -> Result<String, RowsError> {
    let minted = data_encoding::BASE32_NOPAD.encode(&random::<16>(rng)).to_ascii_lowercase();
    let mut region_id = String::new();
    rows.write(&mut |tx| {
        let there = tx.meta()?;
        let mut meta = there.clone().unwrap_or_else(|| MetaRow { region_id: minted.clone(), roots: vec![] });
        meta.roots.extend(roots.fingerprints().into_iter().filter(|root| {
            let is_named = there.as_ref().is_some_and(|there| there.roots.contains(root));
            !is_named
        }));
        if there.as_ref() != Some(&meta) {
            tx.put_meta(&meta)?;
        }
        region_id = meta.region_id;
        Ok(())
    })?;
    Ok(region_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;
    use crate::rows::memory::MemoryRows;
    use crate::seam::SystemRng;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn subset(small: &[String], large: &[String]) -> bool {
        small.iter().all(|name| large.contains(name))
    }

    /// The rule as the design states it, written the other way round: what is allowed, by name.
    fn expected(held: &Held, control: &Control) -> &'static str {
        let control_is_new = control.region_id.is_none() && control.roots.is_empty() && control.is_empty;
        match (control_is_new, &held.vault, held.roots.is_empty()) {
            (true, None, true) if !held.has_clusters => "mint",
            (true, None, false) if !held.has_clusters => "adopt",
            (true, Some(vault), false)
                if !held.has_clusters && !vault.roots.is_empty() && subset(&vault.roots, &held.roots) =>
            {
                "adopt"
            }
            (false, Some(vault), false)
                if control.region_id.as_ref() == Some(&vault.region_id)
                    && !vault.roots.is_empty()
                    && !control.roots.is_empty()
                    && subset(&vault.roots, &held.roots)
                    && subset(&control.roots, &held.roots) =>
            {
                "go"
            }
            _ => "refuse",
        }
    }

    #[test]
    fn every_combination_is_decided_by_the_rule() {
        let root_sets = [names(&[]), names(&["a"]), names(&["b"]), names(&["a", "b"])];
        let mut seen = std::collections::BTreeMap::<&str, u32>::new();
        let vaults = root_sets.iter().flat_map(|roots| {
            ["r1", "r2"].map(|region| Some(MetaRow { region_id: region.to_owned(), roots: roots.clone() }))
        });
        for vault in vaults.chain([None]) {
            for (roots, known) in root_sets.iter().flat_map(|a| root_sets.iter().map(move |b| (a, b))) {
                for bits in 0..8 {
                    let held = Held { roots: roots.clone(), vault: vault.clone(), has_clusters: bits & 1 != 0 };
                    let region_id = (bits & 2 != 0).then(|| "r1".to_owned());
                    let control = Control { region_id, roots: known.clone(), is_empty: bits & 4 != 0 };
                    let decided = match decide(&held, &control) {
                        Decision::Mint => "mint",
                        Decision::Adopt => "adopt",
                        Decision::Go => "go",
                        Decision::Refuse(reason) => {
                            assert!(!reason.is_empty());
                            "refuse"
                        }
                    };
                    assert_eq!(decided, expected(&held, &control), "{held:?} {control:?}");
                    *seen.entry(decided).or_default() += 1;
                }
            }
        }
        assert_eq!(seen.len(), 4, "{seen:?}");
        assert_eq!(seen["mint"], 1);
    }

    #[test]
    fn a_refusal_says_which_differs() {
        let held = |roots: &[&str], region: &str| Held {
            roots: names(roots),
            vault: Some(MetaRow { region_id: region.to_owned(), roots: names(&["a"]) }),
            has_clusters: true,
        };
        let control = Control { region_id: Some("r1".to_owned()), roots: names(&["a"]), is_empty: false };
        let reason = |held| match decide(&held, &control) {
            Decision::Refuse(reason) => reason,
            other => panic!("{other:?}"),
        };
        assert!(reason(held(&["b"], "r1")).contains("root a, which no key file holds"));
        assert!(reason(held(&["a"], "r2")).contains("region r1, the vault is region r2"));
        assert!(reason(held(&[], "r1")).contains("put the key file back"));
        assert!(reason(Held { vault: None, ..held(&["a"], "") }).contains("the vault is empty"));
    }

    #[test]
    fn a_region_is_founded_once_and_learns_new_roots() {
        let rows = MemoryRows::new();
        let root = Root::generate(&SystemRng);
        let roots = Roots::new(vec![root.clone()]).unwrap();
        let region_id = found(&roots, &rows, &SystemRng).unwrap();
        assert_eq!(region_id.len(), 26);
        let rotated = Roots::new(vec![Root::generate(&SystemRng), root]).unwrap();
        assert_eq!(found(&rotated, &rows, &SystemRng).unwrap(), region_id);
        let held = Held::read(Some(&rotated), &rows).unwrap();
        assert_eq!(held.vault.unwrap().roots.len(), 2);
        assert!(!held.has_clusters);
    }
}
