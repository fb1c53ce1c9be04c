//! Implements `Executor` for references, boxes and `Arc`s.

#![deny(clippy::missing_trait_methods)]

use std::sync::Arc;

use super::{Executor, ExecutorConfig, Resources, SubmitError, Task};
use crate::store::Reach;

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<E: Executor + ?Sized> Executor for $pointer {
            fn submit_task(&self, task: Task) -> Result<(), SubmitError> {
                (**self).submit_task(task)
            }
            fn submit_with(&self, task: Task, resources: &Resources) -> Result<(), SubmitError> {
                (**self).submit_with(task, resources)
            }
            fn config(&self) -> Box<dyn ExecutorConfig> {
                (**self).config()
            }
            fn reach(&self) -> Reach {
                (**self).reach()
            }
        }
    )*};
}

forward!(&E, Arc<E>, Box<E>);
