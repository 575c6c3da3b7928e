import { useEffect, useState, useSyncExternalStore } from 'react';
import { Link, data, redirect } from 'react-router';
import { Chat } from '~/components/chat';
import { Controls } from '~/components/controls';
import { Icon } from '~/components/icons';
import { Tile, Video } from '~/components/tile';
import { Call, type CallState, INITIAL_STATE } from '~/lib/call';
import { BAD_NAME, isGroupId } from '~/lib/huddles.server';
import { readUser } from '~/lib/session.server';
import type { Route } from './+types/huddle';

export const meta: Route.MetaFunction = ({ params }) => [{ title: `${params.groupId} · Huddle` }];

export async function loader({ request, params, url: { pathname, search, searchParams } }: Route.LoaderArgs) {
  if (!(await readUser(request))) throw redirect(`/?next=${encodeURIComponent(pathname + search)}`);
  if (!isGroupId(params.groupId)) throw data(BAD_NAME, { status: 400 });
  return { groupId: params.groupId, listens: searchParams.has('listen') };
}

/** The key makes a new call for another huddle, and for another role in it. */
export default function Page({ loaderData: { groupId, listens } }: Route.ComponentProps) {
  return <Huddle key={`${groupId} ${listens}`} groupId={groupId} listens={listens} />;
}

/** Joins when it is mounted, and leaves when it is unmounted. */
function Huddle({ groupId, listens }: { groupId: string; listens: boolean }) {
  const [call] = useState(() => new Call(groupId, listens));
  const state = useSyncExternalStore(call.subscribe, call.getState, () => INITIAL_STATE);
  useEffect(() => {
    void call.join();
    return () => void call.leave();
  }, [call]);

  if (state.phase === 'over') return <Over title={state.endReason} onJoin={() => void call.join()} />;
  return <Live groupId={groupId} call={call} state={state} />;
}

function Over({ title, onJoin }: { title: string; onJoin: () => void }) {
  return (
    <main className="card">
      {/* The content changes without a navigation, so focus moves to the heading for screen readers to announce it. */}
      <h1 tabIndex={-1} ref={(heading) => heading?.focus()}>
        {title}
      </h1>
      <div className="actions">
        <button type="button" onClick={onJoin}>
          Join again
        </button>
        <Link className="button plain" to="/">
          Back to the lobby
        </Link>
      </div>
    </main>
  );
}

function Live({ groupId, call, state }: { groupId: string; call: Call; state: CallState }) {
  const { phase, people, me, messages, notice, isAudioBlocked } = state;
  const [isChatOpen, setChatOpen] = useState(false);
  const [read, setRead] = useState(0);
  useEffect(() => setChatOpen(window.matchMedia('(min-width: 60rem)').matches), []);
  const unread = isChatOpen ? 0 : messages.length - read;
  const screens = people.filter(({ screen }) => screen);

  function toggleChat() {
    setChatOpen(!isChatOpen);
    setRead(messages.length);
  }

  return (
    <div className="call">
      <header>
        <h1>{groupId}</h1>
        <p className="count">{me && (people.length === 1 ? 'Only you' : `${people.length} people`)}</p>
        <CopyLink groupId={groupId} />
      </header>
      <div className="banners" role="status">
        {phase === 'reconnecting' && <p className="banner">Connection lost. Reconnecting…</p>}
        {isAudioBlocked && (
          <p className="banner">
            The browser plays no sound yet.
            <button type="button" onClick={() => void call.startAudio()}>
              Turn sound on
            </button>
          </p>
        )}
        {notice && (
          <p className="banner">
            {notice}
            <button type="button" onClick={() => call.dismissNotice()}>
              Close
            </button>
          </p>
        )}
      </div>
      <main className="stage" data-shares={screens.length > 0 || undefined}>
        {phase === 'joining' && (
          <p className="hint" role="status">
            Joining…
          </p>
        )}
        {screens.length > 0 && (
          <div className="screens">
            {screens.map(({ identity, name, screen }) => (
              <figure className="tile screen" key={identity} aria-label={`Screen of ${name}`}>
                {screen && <Video track={screen} />}
                <figcaption className="name">Screen of {name}</figcaption>
              </figure>
            ))}
          </div>
        )}
        <ul className="tiles" aria-label="People">
          {people.map((person) => {
            const mayRemove = me?.canPublish && !person.isMe;
            return <Tile key={person.identity} person={person} onRemove={mayRemove ? () => void call.remove(person.identity) : undefined} />;
          })}
        </ul>
      </main>
      {isChatOpen && <Chat call={call} messages={messages} onClose={toggleChat} />}
      {me && <Controls call={call} me={me} isChatOpen={isChatOpen} unread={unread} onChat={toggleChat} />}
    </div>
  );
}

/** Copies a link that joins as a listener. It is a default, not a permission: without `?listen` the same user can speak. */
function CopyLink({ groupId }: { groupId: string }) {
  const [isCopied, setCopied] = useState(false);
  async function copy() {
    await navigator.clipboard.writeText(new URL(`/huddles/${groupId}?listen`, window.location.href).href);
    setCopied(true);
  }
  return (
    <button className="quiet" type="button" onClick={() => void copy().catch(() => undefined)}>
      <Icon name="link" />
      <span aria-live="polite">{isCopied ? 'Link copied' : 'Copy listener link'}</span>
    </button>
  );
}
