mod canaries;
mod cell;
mod walk;
mod world;
