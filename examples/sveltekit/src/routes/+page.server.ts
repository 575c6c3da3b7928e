import { BAD_NAME, SWITCHED_OFF, isGroupId, openMedia, readHuddles } from '#lib/server/huddles.ts';
import { localPath, signIn, signOut } from '#lib/server/session.ts';
import { fail, redirect } from '@sveltejs/kit';
import type { Actions, PageServerLoad } from './$types';

export const load: PageServerLoad = async ({ locals: { user }, url }) => {
  // If the media server is unreachable, the lobby is rendered without the list of huddles.
  const isOff = !(await openMedia().catch(() => undefined));
  const huddles = user ? await readHuddles().catch(() => undefined) : [];
  return { name: user?.name, notice: isOff ? SWITCHED_OFF : '', huddles, next: url.searchParams.get('next') ?? '/' };
};

export const actions: Actions = {
  signIn: async ({ cookies, request, url }) => {
    const form = await request.formData();
    if (!signIn(cookies, url, String(form.get('name') ?? ''))) return fail(400, { problem: 'A name has 1 to 40 characters.' });
    redirect(303, localPath(url, String(form.get('next') ?? '')));
  },
  signOut: ({ cookies }) => {
    signOut(cookies);
    redirect(303, '/');
  },
  join: async ({ request }) => {
    const form = await request.formData();
    const groupId = String(form.get('huddle') ?? '').trim().toLowerCase().replaceAll(/\s+/g, '-');
    if (!isGroupId(groupId)) return fail(400, { problem: `${BAD_NAME}.` });
    redirect(303, `/huddles/${groupId}`);
  },
};
