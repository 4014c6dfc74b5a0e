//! What a loop watches.

use crate::reactor::Watched;
use crate::sys::Descriptor;
use std::any::Any;
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;

/// What is watched: its descriptor, and for all but a [`Descriptor`] the owner of that.
#[derive(Clone)]
pub(super) enum Source {
    Own(Rc<Watched>),
    Lent(Rc<Watched>, Rc<dyn Any>),
}

impl Source {
    pub(super) fn of<F: AsFd + 'static>(source: F) -> io::Result<Source> {
        let mut source = Some(source);
        let own = (&mut source as &mut dyn Any).downcast_mut::<Option<Descriptor>>();
        if let Some(descriptor) = own.and_then(Option::take) {
            // The callbacks can make duplicates of what they are shown.
            return Ok(Source::Own(Rc::new(Watched::from_parts(descriptor, true))));
        }
        let duplicate = source.as_ref().map(|source| source.as_fd().try_clone_to_owned());
        let duplicate = duplicate.ok_or(io::ErrorKind::InvalidInput)??;
        Ok(Source::Lent(Rc::new(Watched::adopt(duplicate)?), Rc::new(source)))
    }

    pub(super) fn watched(&self) -> &Watched {
        match self {
            Source::Own(watched) | Source::Lent(watched, _) => watched,
        }
    }

    /// The source as it was given: None if it is no `F`.
    pub(super) fn lend<F: 'static>(&self) -> Option<&F> {
        match self {
            Source::Own(watched) => (watched.descriptor() as &dyn Any).downcast_ref(),
            Source::Lent(_, source) => source.downcast_ref::<Option<F>>()?.as_ref(),
        }
    }

    /// The source alone, no longer watched; None while it is lent.
    pub(super) fn into_inner<F: 'static>(self) -> Option<F> {
        match self {
            Source::Own(watched) => {
                let mut descriptor = Some(Rc::into_inner(watched)?.into_descriptor());
                (&mut descriptor as &mut dyn Any).downcast_mut::<Option<F>>()?.take()
            }
            Source::Lent(watched, source) => {
                drop(watched);
                Rc::into_inner(source.downcast::<Option<F>>().ok()?)?
            }
        }
    }
}
