//! The models that a session has read, within a limit of memory.

use std::cell::RefCell;
use std::rc::Rc;

use trails_model::{Model, Outcome, Task};

use super::stored::{self, StoredModel, WantedModel};
use crate::error::Result;
use crate::settings;

/// A row of the registry with its content: another row with the same digest must prove itself.
type Key = (i64, [u8; 32]);

thread_local! {
    static MODELS: RefCell<Recent<Key, Rc<Model>>> = const { RefCell::new(Recent { entries: Vec::new(), time: 0 }) };
}

/// A model as it answers: two classes are told apart at the threshold that its version was deployed with.
#[derive(Debug, Clone)]
pub struct Predictor {
    pub model: Rc<Model>,
    /// None: the likelier class.
    pub threshold: Option<f64>,
}

impl Predictor {
    /// What the outputs of one row mean; writes a probability for each class.
    #[inline]
    pub fn outcome(&self, outputs: &[f32], probabilities: &mut [f64]) -> Outcome {
        let mut outcome = self.model.outcome(outputs, probabilities);
        if let (Some(threshold), Task::Binary) = (self.threshold, self.model.task()) {
            outcome.class = usize::from(outcome.score >= threshold);
        }
        outcome
    }
}

/// The model that a caller names, read or found in the session's memory.
pub fn model_of(wanted: &WantedModel<'_>) -> Result<Predictor> {
    let found = stored::find(wanted)?;
    let model = kept(&found, || stored::read(&found))?;
    Ok(Predictor { model, threshold: found.threshold })
}

/// The model, which `read` fetches if it is not here. Statements under way keep theirs, whatever is thrown out.
fn kept(found: &StoredModel, read: impl FnOnce() -> Result<Model>) -> Result<Rc<Model>> {
    let key = (found.model_id, found.digest);
    if let Some(model) = MODELS.with_borrow_mut(|models| {
        models.shrink(settings::model_cache_size());
        models.get(&key).cloned()
    }) {
        return Ok(model);
    }
    let model = Rc::new(read()?);
    MODELS.with_borrow_mut(|models| models.put(key, model.clone(), model.bytes(), settings::model_cache_size()));
    Ok(model)
}

struct Entry<K, V> {
    key: K,
    value: V,
    bytes: usize,
    used: u64,
}

/// Values by key; those used least recently go first. There are few, so that looking through them is quickest.
struct Recent<K, V> {
    entries: Vec<Entry<K, V>>,
    time: u64,
}

impl<K: PartialEq, V> Recent<K, V> {
    fn get(&mut self, key: &K) -> Option<&V> {
        self.time += 1;
        let entry = self.entries.iter_mut().find(|entry| entry.key == *key)?;
        entry.used = self.time;
        Some(&entry.value)
    }

    /// Makes room and keeps the value, unless it is larger than all there is.
    fn put(&mut self, key: K, value: V, bytes: usize, limit: usize) {
        if bytes > limit {
            return;
        }
        self.shrink(limit - bytes);
        self.time += 1;
        self.entries.push(Entry { key, value, bytes, used: self.time });
    }

    fn shrink(&mut self, limit: usize) {
        let mut bytes: usize = self.entries.iter().map(|entry| entry.bytes).sum();
        while bytes > limit {
            let oldest = (0..self.entries.len()).min_by_key(|&place| self.entries[place].used);
            let Some(oldest) = oldest else { return };
            bytes -= self.entries.swap_remove(oldest).bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Recent;

    fn keys(recent: &Recent<u8, &str>) -> Vec<u8> {
        let mut keys: Vec<u8> = recent.entries.iter().map(|entry| entry.key).collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn what_was_used_least_recently_goes_first() {
        let mut recent = Recent { entries: Vec::new(), time: 0 };
        for key in 1..=3 {
            recent.put(key, "value", 10, 30);
        }
        assert_eq!(recent.get(&1), Some(&"value"));
        recent.put(4, "value", 10, 30);
        assert_eq!(keys(&recent), [1, 3, 4]);
        recent.put(5, "value", 20, 30);
        assert_eq!(keys(&recent), [4, 5]);
        assert_eq!(recent.get(&3), None);
    }

    #[test]
    fn a_value_beyond_the_limit_is_not_kept_and_drives_nothing_out() {
        let mut recent = Recent { entries: Vec::new(), time: 0 };
        recent.put(1, "small", 10, 30);
        recent.put(2, "large", 31, 30);
        assert_eq!(keys(&recent), [1]);
        recent.shrink(9);
        assert!(keys(&recent).is_empty());
        recent.put(3, "anything", 1, 0);
        assert!(keys(&recent).is_empty());
    }
}
