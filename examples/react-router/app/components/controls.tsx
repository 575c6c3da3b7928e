import { useRef } from 'react';
import { type Call, type Person, canShareScreen } from '~/lib/call';
import { Icon, type IconName } from './icons';

interface ControlProps {
  icon: IconName;
  label: string;
  tone?: 'off' | 'danger';
  onPress: () => void;
}

function Control({ icon, label, tone, onPress }: ControlProps) {
  return (
    <button className="control" type="button" data-tone={tone} onClick={onPress}>
      <Icon name={icon} />
      <span>{label}</span>
    </button>
  );
}

interface Props {
  call: Call;
  me: Person;
  isChatOpen: boolean;
  unread: number;
  onChat: () => void;
}

export function Controls({ call, me, isChatOpen, unread, onChat }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  return (
    <nav className="controls" aria-label="Call controls">
      {me.canPublish ? (
        <>
          <Control
            icon={me.isMuted ? 'microphoneOff' : 'microphone'}
            label={me.isMuted ? 'Unmute' : 'Mute'}
            tone={me.isMuted ? 'off' : undefined}
            onPress={() => void call.toggleMicrophone()}
          />
          <Control
            icon={me.camera ? 'camera' : 'cameraOff'}
            label={me.camera ? 'Stop camera' : 'Start camera'}
            tone={me.camera ? undefined : 'off'}
            onPress={() => void call.toggleCamera()}
          />
          {canShareScreen() && (
            <Control icon="screen" label={me.screen ? 'Stop sharing' : 'Share screen'} onPress={() => void call.toggleScreen()} />
          )}
        </>
      ) : (
        <p className="listening">You are listening</p>
      )}
      <button className="control" type="button" aria-expanded={isChatOpen} aria-controls="chat" onClick={onChat}>
        <Icon name="chat" />
        <span>Chat</span>
        {unread > 0 && (
          <span className="badge" aria-hidden="true">
            {unread}
          </span>
        )}
      </button>
      <p className="unseen" role="status">
        {unread > 0 && `${unread} new in the chat`}
      </p>
      <Control icon="leave" label="Leave" tone="danger" onPress={() => void call.leave()} />
      {me.canPublish && (
        <>
          <Control icon="close" label="End for everyone" onPress={() => dialog.current?.showModal()} />
          <dialog ref={dialog} aria-labelledby="end-title">
            <h2 id="end-title">End the huddle for everyone?</h2>
            <p>All who are in it are disconnected.</p>
            <form method="dialog">
              <button type="submit">Cancel</button>
              <button type="submit" className="danger" onClick={() => void call.endForEveryone()}>
                End the huddle
              </button>
            </form>
          </dialog>
        </>
      )}
    </nav>
  );
}
