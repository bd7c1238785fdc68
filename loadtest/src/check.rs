//! Before a run: whether its targets answer and have what is to be pulled.

use std::rc::Rc;
use std::sync::Arc;

use tokio::task::{JoinSet, LocalSet};

use crate::access::{Access, AccessError};
use crate::outcome::Failure;
use crate::plan::{Client, Reading};
use crate::pull::Puller;
use crate::subject::Subject;

/// The most subjects that are asked for; of more, the first.
const MOST: usize = 256;
/// Asked for at once.
const AT_ONCE: usize = 8;

/// Why a run was not begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CheckError {
    #[error("{} cannot be pulled: {failure}\n(--no-check begins the run all the same)", subject.without_query())]
    Unreachable { subject: Arc<Subject>, failure: Failure },
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error("the targets cannot be checked: {0}")]
    System(#[from] std::io::Error),
}

/// Asks for the first subjects, for each once, and ends with the first that cannot be pulled.
///
/// # Errors
///
/// What is wrong, in a sentence that names the subject.
pub(crate) fn check(access: &Arc<Access>, subjects: &[Arc<Subject>]) -> Result<(), CheckError> {
    let puller = Puller::new(Arc::clone(access), Client::Plain, Reading::default(), 0)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, ask(Rc::new(puller), subjects))
}

async fn ask(puller: Rc<Puller>, subjects: &[Arc<Subject>]) -> Result<(), CheckError> {
    let mut left = subjects.iter().take(MOST).cloned();
    let mut asked = JoinSet::new();
    loop {
        while asked.len() < AT_ONCE
            && let Some(subject) = left.next()
        {
            let puller = Rc::clone(&puller);
            asked.spawn_local(async move {
                let checked = puller.check(&subject).await;
                checked.map_err(|failure| CheckError::Unreachable { subject, failure })
            });
        }
        match asked.join_next().await {
            None => return Ok(()),
            Some(Ok(checked)) => checked?,
            Some(Err(error)) => return Err(CheckError::System(std::io::Error::other(error))),
        }
    }
}
