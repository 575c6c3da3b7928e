import { streamHuddles } from '~/lib/huddles.server';
import { requireUser } from '~/lib/session.server';
import type { Route } from './+types/api.roster';

/** Streams the list of huddles to the lobby. */
export async function loader({ request }: Route.LoaderArgs) {
  await requireUser(request);
  return streamHuddles(request);
}
