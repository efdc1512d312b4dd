"""Where real images come from: a reader a kind of source, and what all of them pass through."""
