export function docsRuns() { return []; }
