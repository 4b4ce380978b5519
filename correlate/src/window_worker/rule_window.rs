//! One windowed rule in one partition: what its alerts say, and its groups.
//!
//! In: a correlation of the rule set. Out: a store that knows its rule; the
//! rule's presentation in stored form, so that episodes of a rule that is gone
//! can still be closed with all that their alerts say. Never: records.

use std::sync::Arc;

use model::event::Path;
use serde::{Deserialize, Serialize};

use crate::chain;
use crate::event_time::Bounds;
use crate::match_record;
use crate::rule::{Condition, Correlation, GroupField, Kind, Level, RuleInfo};
use crate::window::store::{Images, Store};
use crate::window::{BEGINNING, Spec};

/// What does not change when the engine runs.
#[derive(Clone, Debug)]
pub(super) struct About {
    pub(super) info: Arc<RuleInfo>,
    pub(super) group_by: Vec<GroupField>,
    /// Largest lateness of the rule's sources, and the wait for correlations below it, in milliseconds.
    pub(super) lateness_ms: i64,
    /// Whether its episodes are alerts, not only events of other correlations.
    pub(super) alerts: bool,
}

/// A rule and its groups.
#[derive(Debug)]
pub(super) struct RuleWindow {
    pub(super) prefix: Arc<[u8]>,
    pub(super) about: About,
    pub(super) store: Store,
    /// The stored form that the changelog holds of `about`, with what is not committed.
    pub(super) described: Option<Vec<u8>>,
    pub(super) described_committed: Option<Vec<u8>>,
}

impl RuleWindow {
    /// A rule without groups, at the time that was reached.
    pub(super) fn new(about: About, spec: Spec, low: i64) -> RuleWindow {
        let watermark = watermark(low, about.lateness_ms);
        RuleWindow {
            prefix: match_record::rule_prefix(&about.info).into(),
            about,
            store: Store::new(spec, Images::Keep, watermark),
            described: None,
            described_committed: None,
        }
    }

    pub(super) fn commit(&mut self) {
        self.store.commit();
        self.described_committed.clone_from(&self.described);
    }

    pub(super) fn rollback(&mut self) {
        self.store.rollback();
        self.described.clone_from(&self.described_committed);
    }
}

impl About {
    /// Of a rule in force.
    pub(super) fn new(rule: &Correlation, bounds: &Bounds) -> About {
        About {
            info: Arc::clone(&rule.info),
            group_by: rule.group_by.clone(),
            lateness_ms: lateness_ms(rule, bounds),
            alerts: rule.alerts,
        }
    }
}

fn lateness_ms(rule: &Correlation, bounds: &Bounds) -> i64 {
    let below = i64::from(rule.depth.saturating_sub(1));
    bounds.largest_lateness_ms(&rule.info.sources).saturating_add(chain::WAIT_MS.saturating_mul(below))
}

/// A rule's watermark: the lowest of all partitions less its lateness.
pub(super) fn watermark(low: i64, lateness_ms: i64) -> i64 {
    if low == BEGINNING { BEGINNING } else { low.saturating_sub(lateness_ms) }
}

/// The stored form of a rule's presentation, JSON.
#[derive(Debug, Serialize, Deserialize)]
struct StoredRule {
    version: u8,
    id: String,
    name: Option<String>,
    title: String,
    level: String,
    severity: String,
    category: String,
    tags: Vec<String>,
    attack: Vec<String>,
    summary: String,
    samples: usize,
    channel: Option<String>,
    notify: Option<bool>,
    url: Option<String>,
    generation: String,
    group_by: Vec<String>,
    timespan_ms: i64,
    /// Absent in what was stored before there were correlations of correlations.
    #[serde(default = "alerts_by_default")]
    alerts: bool,
}

fn alerts_by_default() -> bool {
    true
}

const VERSION: u8 = 1;

/// Why a stored rule cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoredRuleError {
    #[error("a stored rule cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    #[error("a stored rule has version {0}, but this version of MozDef reads up to {VERSION}; update it")]
    Version(u8),
}

/// What closing the episodes of this rule will need.
pub(super) fn describe(about: &About, spec: &Spec) -> Result<Vec<u8>, StoredRuleError> {
    let info = &*about.info;
    Ok(serde_json::to_vec(&StoredRule {
        version: VERSION,
        id: info.id.clone(),
        name: info.name.clone(),
        title: info.title.clone(),
        level: info.level.as_str().to_owned(),
        severity: info.severity.clone(),
        category: info.category.clone(),
        tags: info.tags.clone(),
        attack: info.attack.clone(),
        summary: info.summary.clone(),
        samples: info.samples,
        channel: info.channel.clone(),
        notify: info.notify,
        url: info.url.clone(),
        generation: info.generation.clone(),
        group_by: about.group_by.iter().map(|field| field.name.clone()).collect(),
        timespan_ms: spec.timespan_ms,
        alerts: about.alerts,
    })?)
}

/// A rule that is no longer in force, as it was described. Its groups can only be closed.
pub(super) fn recall(stored: &[u8]) -> Result<RuleWindow, StoredRuleError> {
    let rule: StoredRule = serde_json::from_slice(stored)?;
    if rule.version != VERSION {
        return Err(StoredRuleError::Version(rule.version));
    }
    let level = [Level::Informational, Level::Low, Level::Medium, Level::High, Level::Critical]
        .into_iter()
        .find(|level| level.as_str() == rule.level);
    let group_by =
        rule.group_by.iter().map(|name| GroupField { name: name.clone(), paths: vec![Path::new(name)] });
    let about = About {
        group_by: group_by.collect(),
        lateness_ms: 0,
        alerts: rule.alerts,
        info: Arc::new(RuleInfo {
            id: rule.id,
            name: rule.name,
            title: rule.title,
            level: level.unwrap_or(Level::Medium),
            severity: rule.severity,
            category: rule.category,
            tags: rule.tags,
            attack: rule.attack,
            summary: rule.summary,
            samples: rule.samples,
            channel: rule.channel,
            notify: rule.notify,
            url: rule.url,
            sources: Vec::new(),
            generation: rule.generation,
        }),
    };
    let spec = Spec {
        timespan_ms: rule.timespan_ms.max(1),
        kind: Kind::EventCount,
        condition: Condition::default(),
        limits: Condition::default(),
        samples: about.info.samples,
        revise_ms: 0,
        entries_max: 1,
    };
    let mut window = RuleWindow::new(about, spec, BEGINNING);
    window.described = Some(stored.to_vec());
    window.described_committed = Some(stored.to_vec());
    Ok(window)
}
