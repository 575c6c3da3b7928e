import { type FormEvent, useEffect, useRef } from 'react';
import type { Call, Message } from '~/lib/call';
import { Icon } from './icons';

const time = new Intl.DateTimeFormat(undefined, { hour: '2-digit', minute: '2-digit' });

export function Chat({ call, messages, onClose }: { call: Call; messages: Message[]; onClose: () => void }) {
  const list = useRef<HTMLUListElement>(null);
  useEffect(() => {
    void list.current?.lastElementChild?.scrollIntoView({ block: 'end' });
  }, [messages]);

  function send(event: FormEvent<HTMLFormElement>) {
    event.preventDefault();
    const form = event.currentTarget;
    const text = String(new FormData(form).get('text')).trim();
    if (text !== '') void call.sendMessage(text);
    form.reset();
  }

  /** Closes the chat, and moves focus back to the button that opens it. */
  function close() {
    onClose();
    document.querySelector<HTMLElement>('[aria-controls="chat"]')?.focus();
  }

  return (
    <aside className="chat" id="chat" aria-label="Chat">
      <header>
        <h2>Chat</h2>
        <button className="quiet" type="button" aria-label="Close chat" onClick={close}>
          <Icon name="close" />
        </button>
      </header>
      <div className="log" role="log" aria-label="Messages" tabIndex={0}>
        {messages.length === 0 && <p className="hint">Nobody has written yet.</p>}
        <ul ref={list}>
          {messages.map(({ id, name, isMine, text, at }) => (
            <li key={id} data-mine={isMine || undefined}>
              <p className="from">
                <b>{isMine ? 'You' : name}</b> <time dateTime={at.toISOString()}>{time.format(at)}</time>
              </p>
              <p className="said">{text}</p>
            </li>
          ))}
        </ul>
      </div>
      <form onSubmit={send}>
        <input name="text" aria-label="Message" placeholder="Write to everyone" autoComplete="off" maxLength={2000} />
        <button type="submit">Send</button>
      </form>
    </aside>
  );
}
