//! Tests of the task cell: a walk through every order of steps, and what is only to be seen inside.

mod canaries;
mod cell;
mod home;
mod others;
mod walk;
mod world;
