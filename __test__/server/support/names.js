'use strict';

/** Names that rooms and participants can have. */
const roomNames = ['huddle:1', 'a#b', 'a/b/../c', 'a b', ' at the edges ', '😀 👩‍👩‍👧', '%2F?x=1&y="<\\', 'é'.repeat(128), 'a'.repeat(256)];

module.exports = { roomNames };
