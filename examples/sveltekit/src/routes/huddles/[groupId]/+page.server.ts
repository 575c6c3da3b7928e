import { BAD_NAME, isGroupId } from '#lib/server/huddles.ts';
import { error, redirect } from '@sveltejs/kit';
import type { PageServerLoad } from './$types';

export const load: PageServerLoad = ({ locals, params: { groupId }, url }) => {
  if (!locals.user) redirect(303, `/?next=${encodeURIComponent(url.pathname + url.search)}`);
  if (!isGroupId(groupId)) error(400, BAD_NAME);
  return { groupId, listens: url.searchParams.has('listen') };
};
