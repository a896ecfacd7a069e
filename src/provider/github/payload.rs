//! GitHub's JSON, as far as we read it. Owns the tolerance: whatever is missing, null or of another type reads as
//! absent, so that no change on GitHub's side costs a delivery. These types never leave `github`.

use std::{fmt, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::Value;

/// A value that may be anything: what is not a `T` is `None`.
#[derive(Debug)]
pub(super) struct Maybe<T>(Option<T>);

/// An array; elements that are not a `T` are left out, and what is no array is empty.
#[derive(Debug)]
pub(super) struct List<T>(Vec<T>);

impl<T> Default for Maybe<T> {
    fn default() -> Maybe<T> {
        Maybe(None)
    }
}

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List(Vec::new())
    }
}

impl<T> Deref for Maybe<T> {
    type Target = Option<T>;

    fn deref(&self) -> &Option<T> {
        &self.0
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Maybe<T>, D::Error> {
        let value = Value::deserialize(deserializer)?;
        // serde would fill a struct from an array, field by field, and `IgnoredAny` is content with null.
        let absent = value.is_array() || value.is_null();
        Ok(Maybe(if absent { None } else { T::deserialize(value).ok() }))
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<T>, D::Error> {
        Ok(List(match Value::deserialize(deserializer)? {
            Value::Array(values) => values.into_iter().filter_map(|value| T::deserialize(value).ok()).collect(),
            _ => Vec::new(),
        }))
    }
}

/// How many elements a list has, counted without keeping any: a push may list thousands of commits. What is no list has none.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count(pub(super) usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Count, D::Error> {
        struct Counter;

        impl<'de> Visitor<'de> for Counter {
            type Value = usize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<usize, A::Error> {
                let mut count = 0;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(count)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(0)
            }

            fn visit_bool<E>(self, _: bool) -> Result<usize, E> {
                Ok(0)
            }

            fn visit_i64<E>(self, _: i64) -> Result<usize, E> {
                Ok(0)
            }

            fn visit_u64<E>(self, _: u64) -> Result<usize, E> {
                Ok(0)
            }

            fn visit_f64<E>(self, _: f64) -> Result<usize, E> {
                Ok(0)
            }

            fn visit_str<E>(self, _: &str) -> Result<usize, E> {
                Ok(0)
            }

            fn visit_unit<E>(self) -> Result<usize, E> {
                Ok(0)
            }
        }

        deserializer.deserialize_any(Counter).map(Count)
    }
}

/// The top level of every event that we tell about; fields that we do not name are passed over without a copy.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Payload {
    pub(super) action: Maybe<String>,
    pub(super) alert: Maybe<Alert>,
    pub(super) assignee: Maybe<Account>,
    pub(super) check_suite: Maybe<CheckSuite>,
    pub(super) comment: Maybe<Comment>,
    pub(super) commits: Count,
    pub(super) compare: Maybe<String>,
    pub(super) created: Maybe<bool>,
    pub(super) deleted: Maybe<bool>,
    pub(super) deployment: Maybe<Deployment>,
    pub(super) deployment_status: Maybe<DeploymentStatus>,
    pub(super) discussion: Maybe<Issue>,
    pub(super) forced: Maybe<bool>,
    pub(super) forkee: Maybe<Repository>,
    pub(super) head_commit: Maybe<Commit>,
    pub(super) issue: Maybe<Issue>,
    pub(super) member: Maybe<Account>,
    pub(super) membership: Maybe<Membership>,
    pub(super) organization: Maybe<Account>,
    pub(super) pull_request: Maybe<PullRequest>,
    pub(super) pusher: Maybe<Pusher>,
    #[serde(rename = "ref")]
    pub(super) git_ref: Maybe<String>,
    pub(super) ref_type: Maybe<String>,
    pub(super) release: Maybe<Release>,
    pub(super) repository: Maybe<Repository>,
    pub(super) repository_advisory: Maybe<Advisory>,
    pub(super) requested_reviewer: Maybe<Account>,
    pub(super) requested_team: Maybe<Named>,
    pub(super) review: Maybe<Review>,
    pub(super) sender: Maybe<Account>,
    pub(super) workflow: Maybe<Named>,
    pub(super) workflow_run: Maybe<WorkflowRun>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Repository {
    pub(super) full_name: Maybe<String>,
    pub(super) html_url: Maybe<String>,
    pub(super) owner: Maybe<Account>,
    pub(super) stargazers_count: Maybe<i64>,
    pub(super) forks_count: Maybe<i64>,
}

/// A user, a bot or an organisation.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Account {
    pub(super) login: Maybe<String>,
    pub(super) html_url: Maybe<String>,
}

/// Who pushed; git's words, not an account.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pusher {
    pub(super) name: Maybe<String>,
}

/// A team, a workflow, an app, a category, a label: whatever has a name.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Named {
    pub(super) name: Maybe<String>,
    pub(super) slug: Maybe<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Membership {
    pub(super) user: Maybe<Account>,
}

/// An issue, or a discussion, which has the same bones.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Issue {
    pub(super) number: Maybe<i64>,
    pub(super) title: Maybe<String>,
    pub(super) html_url: Maybe<String>,
    pub(super) labels: List<Named>,
    pub(super) category: Maybe<Named>,
    pub(super) draft: Maybe<bool>,
    /// There when the issue is really a pull request.
    pub(super) pull_request: Maybe<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PullRequest {
    pub(super) number: Maybe<i64>,
    pub(super) title: Maybe<String>,
    pub(super) html_url: Maybe<String>,
    pub(super) labels: List<Named>,
    pub(super) draft: Maybe<bool>,
    pub(super) merged: Maybe<bool>,
    pub(super) merged_by: Maybe<Account>,
    pub(super) base: Maybe<Tip>,
    pub(super) head: Maybe<Tip>,
}

/// One end of a pull request.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Tip {
    #[serde(rename = "ref")]
    pub(super) git_ref: Maybe<String>,
    pub(super) sha: Maybe<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Comment {
    pub(super) html_url: Maybe<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Review {
    pub(super) state: Maybe<String>,
    pub(super) body: Maybe<String>,
    pub(super) html_url: Maybe<String>,
    pub(super) user: Maybe<Account>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Commit {
    pub(super) id: Maybe<String>,
    pub(super) message: Maybe<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Release {
    pub(super) name: Maybe<String>,
    pub(super) tag_name: Maybe<String>,
    pub(super) html_url: Maybe<String>,
    pub(super) prerelease: Maybe<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WorkflowRun {
    pub(super) name: Maybe<String>,
    pub(super) display_title: Maybe<String>,
    pub(super) conclusion: Maybe<String>,
    pub(super) head_branch: Maybe<String>,
    pub(super) head_sha: Maybe<String>,
    pub(super) head_repository: Maybe<Repository>,
    pub(super) html_url: Maybe<String>,
    pub(super) run_number: Maybe<i64>,
    pub(super) run_attempt: Maybe<i64>,
    pub(super) actor: Maybe<Account>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct CheckSuite {
    pub(super) conclusion: Maybe<String>,
    pub(super) head_branch: Maybe<String>,
    pub(super) head_sha: Maybe<String>,
    pub(super) head_commit: Maybe<Commit>,
    pub(super) app: Maybe<Named>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Deployment {
    #[serde(rename = "ref")]
    pub(super) git_ref: Maybe<String>,
    pub(super) sha: Maybe<String>,
    pub(super) environment: Maybe<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DeploymentStatus {
    pub(super) state: Maybe<String>,
    pub(super) environment: Maybe<String>,
    pub(super) environment_url: Maybe<String>,
    pub(super) log_url: Maybe<String>,
    pub(super) target_url: Maybe<String>,
}

/// An alert of Dependabot, code scanning or secret scanning, or the older vulnerability alert: each fills some fields.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Alert {
    pub(super) number: Maybe<i64>,
    pub(super) html_url: Maybe<String>,
    pub(super) security_advisory: Maybe<Advisory>,
    pub(super) dependency: Maybe<Dependency>,
    pub(super) rule: Maybe<ScanRule>,
    pub(super) secret_type: Maybe<String>,
    pub(super) secret_type_display_name: Maybe<String>,
    pub(super) affected_package_name: Maybe<String>,
    pub(super) external_identifier: Maybe<String>,
    pub(super) external_reference: Maybe<String>,
    pub(super) severity: Maybe<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Advisory {
    pub(super) summary: Maybe<String>,
    pub(super) severity: Maybe<String>,
    pub(super) html_url: Maybe<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Dependency {
    pub(super) package: Maybe<Named>,
}

/// The rule that code scanning saw broken.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ScanRule {
    pub(super) id: Maybe<String>,
    pub(super) description: Maybe<String>,
    pub(super) severity: Maybe<String>,
    pub(super) security_severity_level: Maybe<String>,
}
