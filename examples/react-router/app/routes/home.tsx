import { useEffect, useState } from 'react';
import { Form, Link, data, redirect } from 'react-router';
import { BAD_NAME, type Huddle, SWITCHED_OFF, isGroupId, openMedia, readHuddles } from '~/lib/huddles.server';
import { readUser, signIn, signOut } from '~/lib/session.server';
import type { Route } from './+types/home';

export async function loader({ request, url }: Route.LoaderArgs) {
  const user = await readUser(request);
  // If the media server is unreachable, the lobby is rendered without the list of huddles.
  const isOff = !(await openMedia().catch(() => undefined));
  const huddles = user ? await readHuddles().catch(() => undefined) : [];
  const next = url.searchParams.get('next') ?? '/';
  return { name: user?.name, notice: isOff ? SWITCHED_OFF : '', huddles, next };
}

export async function action({ request }: Route.ActionArgs) {
  const form = await request.formData();
  const text = (field: string) => String(form.get(field) ?? '');
  const reject = (problem: string) => data({ problem }, { status: 400 });
  if (text('intent') === 'sign-out') return signOut(request);
  if (text('intent') === 'sign-in') {
    return (await signIn(request, text('name'), text('next'))) ?? reject('A name has 1 to 40 characters.');
  }
  const groupId = text('huddle').trim().toLowerCase().replaceAll(/\s+/g, '-');
  return isGroupId(groupId) ? redirect(`/huddles/${groupId}`) : reject(`${BAD_NAME}.`);
}

export default function Home({ loaderData: { name, notice, huddles, next }, actionData }: Route.ComponentProps) {
  return (
    <main className="lobby">
      <header>
        <h1>Huddle</h1>
        {name && (
          <Form method="post" className="who">
            <input type="hidden" name="intent" value="sign-out" />
            <span>{name}</span>
            <button className="quiet">Sign out</button>
          </Form>
        )}
      </header>
      {notice && (
        <p className="notice" role="status">
          <b>{notice}</b> Set <code>MARAVILLA_MEDIA_PROVIDER=embedded</code>, or <code>LIVEKIT_URL</code>, <code>LIVEKIT_API_KEY</code> and{' '}
          <code>LIVEKIT_API_SECRET</code>, and start again.
        </p>
      )}
      {actionData && (
        <p className="notice" role="alert">
          {actionData.problem}
        </p>
      )}
      {name ? <Lobby first={huddles} /> : <SignIn next={next} />}
    </main>
  );
}

function SignIn({ next }: { next: string }) {
  return (
    <Form method="post" className="panel">
      <label htmlFor="name">Your name</label>
      <div className="row">
        <input id="name" name="name" autoComplete="nickname" maxLength={40} required />
        <input type="hidden" name="intent" value="sign-in" />
        <input type="hidden" name="next" value={next} />
        <button>Continue</button>
      </div>
      <p className="hint">Others in a huddle see it. Nothing else is asked.</p>
    </Form>
  );
}

function Lobby({ first }: { first: Huddle[] | undefined }) {
  const huddles = useHuddles(first);
  return (
    <>
      <Form method="post" className="panel">
        <label htmlFor="huddle">Huddle name</label>
        <div className="row">
          <input id="huddle" name="huddle" placeholder="design-review" autoComplete="off" maxLength={40} pattern="[A-Za-z0-9][A-Za-z0-9 \-]*" required />
          <button>Join</button>
        </div>
        <p className="hint">Letters, digits and dashes. It starts when somebody joins, and ends after the last one has left.</p>
      </Form>
      <section className="live" aria-live="polite">
        <h2>Live now</h2>
        {!huddles && <p className="hint">The list of huddles is not available at the moment.</p>}
        {huddles?.length === 0 && <p className="hint">Nobody is in a huddle. Start one.</p>}
        {huddles?.map(({ groupId, people }) => (
          <article key={groupId}>
            <div>
              <h3>{groupId}</h3>
              <ul aria-label={`People in ${groupId}`}>
                {people.map((person, index) => (
                  <li key={index}>{person}</li>
                ))}
              </ul>
            </div>
            <Link className="button plain" to={`/huddles/${groupId}?listen`} aria-label={`Listen to ${groupId}`}>
              Listen
            </Link>
            <Link className="button" to={`/huddles/${groupId}`} aria-label={`Join ${groupId}`}>
              Join
            </Link>
          </article>
        ))}
      </section>
    </>
  );
}

/** The huddles that the page was rendered with, then those of the latest event. */
function useHuddles(first: Huddle[] | undefined): Huddle[] | undefined {
  const [huddles, setHuddles] = useState(first);
  useEffect(() => {
    const events = new EventSource('/api/roster');
    events.addEventListener('message', ({ data }: MessageEvent<string>) => setHuddles(JSON.parse(data) as Huddle[]));
    return () => events.close();
  }, []);
  return huddles;
}
