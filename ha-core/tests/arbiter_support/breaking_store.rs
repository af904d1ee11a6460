//! A store whose requests stall, repeat, lie, or arrive late.

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Mutex;
use tokio::sync::Notify;

/// Where a request is cut off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// It never arrives.
    Before,
    /// It takes effect, and its answer never comes.
    After,
}

#[derive(Default)]
struct Faults {
    stall: Option<(Cut, usize)>,
    requests: usize,
    repeat_creations: bool,
    ignore_conditions: bool,
    frozen_lists: Option<Vec<ObjectMeta>>,
    on_put: VecDeque<Box<dyn FnOnce() + Send>>,
}

pub struct BreakingStore<S> {
    inner: S,
    faults: Mutex<Faults>,
    stalled: Notify,
}

impl<S: ObjectStore> BreakingStore<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, faults: Mutex::default(), stalled: Notify::new() }
    }

    /// The request after `requests` others stalls, and all later ones.
    pub fn stall(&self, cut: Cut, requests: usize) {
        let mut faults = self.faults.lock().unwrap();
        faults.stall = Some((cut, requests));
        faults.requests = 0;
    }

    pub fn heal(&self) {
        self.faults.lock().unwrap().stall = None;
    }

    pub fn repeat_creations(&self) {
        self.faults.lock().unwrap().repeat_creations = true;
    }

    pub fn ignore_conditions(&self) {
        self.faults.lock().unwrap().ignore_conditions = true;
    }

    /// From now on lists show what they show now.
    pub async fn freeze_lists(&self) {
        let objects: Vec<_> = self.inner.list(None).map(|m| m.unwrap()).collect().await;
        self.faults.lock().unwrap().frozen_lists = Some(objects);
    }

    /// Called once, right before the next put takes effect.
    pub fn on_put(&self, then: impl FnOnce() + Send + 'static) {
        self.faults.lock().unwrap().on_put.push_back(Box::new(then));
    }

    /// Drives a call until it ends, or drops it where it stalls.
    pub async fn until_stalled<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            ended = call => Some(ended),
            () = self.stalled.notified() => None,
        }
    }

    /// Whether this request stalls, and where.
    fn cut(&self) -> Option<Cut> {
        let mut faults = self.faults.lock().unwrap();
        faults.requests += 1;
        let (cut, after) = faults.stall?;
        (faults.requests > after).then_some(cut)
    }

    async fn cut_off<T>(&self, cut: Option<Cut>, request: impl Future<Output = T>) -> T {
        if cut == Some(Cut::Before) {
            self.stalled.notify_one();
            std::future::pending::<()>().await;
        }
        let answer = request.await;
        if cut == Some(Cut::After) {
            self.stalled.notify_one();
            std::future::pending::<()>().await;
        }
        answer
    }
}

impl<S> fmt::Debug for BreakingStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BreakingStore { key: \"secret\" }")
    }
}

impl<S> fmt::Display for BreakingStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BreakingStore")
    }
}

#[async_trait]
impl<S: ObjectStore> ObjectStore for BreakingStore<S> {
    async fn put_opts(
        &self,
        place: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        let (repeat, then) = {
            let mut faults = self.faults.lock().unwrap();
            if faults.ignore_conditions {
                options.mode = PutMode::Overwrite;
            }
            (faults.repeat_creations && options.mode == PutMode::Create, faults.on_put.pop_front())
        };
        self.cut_off(self.cut(), async {
            if let Some(then) = then {
                then();
            }
            if repeat {
                self.inner.put_opts(place, payload.clone(), options.clone()).await?;
            }
            self.inner.put_opts(place, payload, options).await
        })
        .await
    }

    async fn get_opts(&self, place: &Path, options: GetOptions) -> Result<GetResult> {
        self.cut_off(self.cut(), self.inner.get_opts(place, options)).await
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.cut().is_some() {
            self.stalled.notify_one();
            return futures::stream::pending().boxed();
        }
        if let Some(frozen) = &self.faults.lock().unwrap().frozen_lists {
            let below = |m: &&ObjectMeta| prefix.is_none_or(|p| m.location.prefix_matches(p));
            let shown: Vec<_> = frozen.iter().filter(below).cloned().map(Ok).collect();
            return futures::stream::iter(shown).boxed();
        }
        self.inner.list(prefix)
    }

    fn delete_stream(&self, places: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(places)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn put_multipart_opts(
        &self,
        place: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(place, options).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
