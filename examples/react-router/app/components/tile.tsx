import type { Track } from 'livekit-client';
import { useEffect, useRef } from 'react';
import type { Person } from '~/lib/call';
import { Icon } from './icons';

/** With `adaptiveStream`, LiveKit sends the resolution that fits the element's size. */
export function Video({ track }: { track: Track }) {
  const ref = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    track.attach(element);
    return () => void track.detach(element);
  }, [track]);
  return <video ref={ref} muted playsInline />;
}

interface Props {
  person: Person;
  onRemove?: (() => void) | undefined;
}

export function Tile({ person: { name, isMe, isMuted, isSpeaking, canPublish, camera }, onRemove }: Props) {
  const label = isMe ? `${name} (you)` : name;
  const initials = name.split(/\s+/).slice(0, 2).map(([first]) => first).join('');
  return (
    <li className="tile" aria-label={label} data-me={isMe || undefined} data-speaking={isSpeaking || undefined}>
      {camera ? (
        <Video track={camera} />
      ) : (
        <span className="initials" aria-hidden="true">
          {initials}
        </span>
      )}
      <span className="name">
        {canPublish && isMuted && (
          <span className="muted">
            <Icon name="microphoneOff" />
            <span className="unseen">Muted </span>
          </span>
        )}
        <span>{label}</span>
        {!canPublish && <span className="listens">listens</span>}
      </span>
      {onRemove && (
        <button className="remove" type="button" aria-label={`Remove ${name}`} title={`Remove ${name}`} onClick={onRemove}>
          <Icon name="close" />
        </button>
      )}
    </li>
  );
}
