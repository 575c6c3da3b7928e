// A call as data. What happens in a LiveKit room becomes one snapshot after another, which any framework can show: the
// class is a Svelte store, and fits React's useSyncExternalStore.
import { ConnectionState, DisconnectReason, type LocalTrack, MediaDeviceFailure, type Participant, Room, RoomEvent, Track } from 'livekit-client';

export interface Person {
  identity: string;
  name: string;
  isMe: boolean;
  isSpeaking: boolean;
  isMuted: boolean;
  /** False for those who came to listen. */
  canPublish: boolean;
  camera: Track | undefined;
  screen: Track | undefined;
}

export interface Message {
  id: number;
  name: string;
  isMine: boolean;
  text: string;
  at: Date;
}

export interface CallState {
  phase: 'joining' | 'live' | 'reconnecting' | 'over';
  /** Why it is over. */
  ending: string;
  /** Something went wrong, and the call goes on. */
  notice: string;
  me: Person | undefined;
  people: Person[];
  messages: Message[];
  /** The browser plays no sound until somebody has pressed something on the page. */
  isSilent: boolean;
}

export const START: CallState = {
  phase: 'joining',
  ending: '',
  notice: '',
  me: undefined,
  people: [],
  messages: [],
  isSilent: false,
};

const CHAT = 'chat';
const MOST_LETTERS = 2_000;
const LOST = 'The connection was lost';

const ENDINGS: Partial<Record<DisconnectReason, string>> = {
  [DisconnectReason.CLIENT_INITIATED]: 'You left',
  [DisconnectReason.PARTICIPANT_REMOVED]: 'You were removed',
  [DisconnectReason.ROOM_DELETED]: 'The huddle has ended',
  [DisconnectReason.DUPLICATE_IDENTITY]: 'You joined from another tab',
};

const DEVICE_NOTICES: Record<MediaDeviceFailure, string> = {
  [MediaDeviceFailure.PermissionDenied]: 'The browser does not let this page use camera or microphone.',
  [MediaDeviceFailure.NotFound]: 'No camera or microphone was found.',
  [MediaDeviceFailure.DeviceInUse]: 'Camera or microphone is in use by another program.',
  [MediaDeviceFailure.Other]: 'Camera or microphone cannot be used.',
};

/** What the snapshot is made of, so each of these makes a new one. */
const CHANGES = [
  RoomEvent.ConnectionStateChanged,
  RoomEvent.ParticipantConnected,
  RoomEvent.ParticipantDisconnected,
  RoomEvent.ParticipantNameChanged,
  RoomEvent.ParticipantPermissionsChanged,
  RoomEvent.ActiveSpeakersChanged,
  // TrackUnsubscribed comes before the track is gone, this one after.
  RoomEvent.TrackSubscriptionStatusChanged,
  RoomEvent.TrackUnpublished,
  RoomEvent.TrackMuted,
  RoomEvent.TrackUnmuted,
  RoomEvent.LocalTrackPublished,
  RoomEvent.LocalTrackUnpublished,
  RoomEvent.AudioPlaybackStatusChanged,
] as const;

/** In the browser: phones cannot, and no browser does on a page that came over plain http. */
export const canShareScreen = (): boolean => 'getDisplayMedia' in (navigator.mediaDevices ?? {});

export class Call {
  #state = START;
  #room: Room | undefined;
  /** Camera and microphone, once the browser gives them: they go on until they are stopped. */
  #devices: LocalTrack[] = [];
  #isTurningOn = false;
  readonly #listeners = new Set<(state: CallState) => void>();
  readonly #address: string;
  readonly #listens: boolean;

  /** Does nothing yet, so that it can also be made on the server. */
  constructor(groupId: string, listens: boolean) {
    this.#address = `/api/huddles/${encodeURIComponent(groupId)}`;
    this.#listens = listens;
  }

  readonly getState = (): CallState => this.#state;

  /** Tells the state at once and at each change, until the function that it returns is called. */
  readonly subscribe = (listener: (state: CallState) => void): (() => void) => {
    this.#listeners.add(listener);
    listener(this.#state);
    return () => this.#listeners.delete(listener);
  };

  /** Asks the server for a token, joins, and turns microphone and camera on. Also to join again once it is over. */
  async join(): Promise<void> {
    const room = new Room({ adaptiveStream: true, dynacast: true });
    this.#room = room;
    this.#set(START);
    this.#listen(room);
    try {
      const { token, url }: Ticket = await this.#ask('join', new URLSearchParams(this.#listens ? { listen: '' } : {}));
      // Whoever has left meanwhile is not to be pulled in again.
      if (this.#room !== room) return;
      await room.connect(url, token);
    } catch (error) {
      if (this.#room === room) this.#end(error instanceof Refusal ? error.message : 'The call cannot be joined now');
      return;
    }
    if (!this.#listens) await this.#turnOn(room);
  }

  /** Leaves. The page need not be told to: closing it is leaving, too. */
  async leave(): Promise<void> {
    const room = this.#room;
    this.#end('You left');
    await room?.disconnect();
  }

  async toggleMicrophone(): Promise<void> {
    const me = this.#room?.localParticipant;
    if (!this.#isTurningOn) await this.#tryDevice(() => me?.setMicrophoneEnabled(!me.isMicrophoneEnabled));
  }

  async toggleCamera(): Promise<void> {
    const me = this.#room?.localParticipant;
    if (!this.#isTurningOn) await this.#tryDevice(() => me?.setCameraEnabled(!me.isCameraEnabled));
  }

  /** Whoever changes their mind in the browser's own dialogue has not failed. */
  async toggleScreen(): Promise<void> {
    const me = this.#room?.localParticipant;
    await me?.setScreenShareEnabled(!me.isScreenShareEnabled).catch(() => undefined);
  }

  async say(text: string): Promise<void> {
    const me = this.#room?.localParticipant;
    if (!me) return;
    try {
      await me.sendText(text, { topic: CHAT });
      this.#addMessage(me, text);
    } catch {
      this.#set({ notice: 'The message could not be sent.' });
    }
  }

  async turnSoundOn(): Promise<void> {
    await this.#room?.startAudio();
  }

  async remove(identity: string): Promise<void> {
    await this.#order('remove', new URLSearchParams({ identity }));
  }

  async endForEveryone(): Promise<void> {
    await this.#order('end');
  }

  dismissNotice(): void {
    this.#set({ notice: '' });
  }

  #set(change: Partial<CallState>): void {
    this.#state = { ...this.#state, ...change };
    for (const listener of this.#listeners) listener(this.#state);
  }

  #end(ending: string): void {
    this.#room = undefined;
    for (const track of this.#devices.splice(0)) track.stop();
    this.#set({ phase: 'over', ending, notice: '', people: [], me: undefined });
  }

  #listen(room: Room): void {
    const ifCurrent =
      <Args extends unknown[]>(act: (...args: Args) => void) =>
      (...args: Args) => {
        if (this.#room === room) act(...args);
      };
    for (const event of CHANGES) room.on(event, ifCurrent(() => this.#look(room)));
    room.on(
      RoomEvent.Disconnected,
      ifCurrent((reason?: DisconnectReason) => {
        // A connection that was never made ends where it was asked for.
        if (this.#state.phase !== 'joining') this.#end((reason !== undefined && ENDINGS[reason]) || LOST);
      }),
    );
    // Sound needs no place on the page; pictures are attached where they are shown.
    room.on(RoomEvent.TrackSubscribed, (track) => {
      if (track.kind === Track.Kind.Audio) document.body.append(track.attach());
    });
    room.on(RoomEvent.TrackUnsubscribed, (track) => {
      if (track.kind === Track.Kind.Audio) for (const element of track.detach()) element.remove();
    });
    room.registerTextStreamHandler(CHAT, async (reader, { identity }) => {
      // Whoever goes while they write has written nothing.
      const text = await reader.readAll().catch(() => '');
      const sender = room.remoteParticipants.get(identity);
      if (this.#room === room && sender && text) this.#addMessage(sender, text.slice(0, MOST_LETTERS));
    });
  }

  #look(room: Room): void {
    const { localParticipant: me, remoteParticipants: others } = room;
    if (room.state === ConnectionState.Connecting || room.state === ConnectionState.Disconnected) return;
    const everyone = [me, ...[...others.values()].sort((a, b) => Number(a.joinedAt) - Number(b.joinedAt))];
    const people = everyone.map((participant) => personOf(participant));
    const phase = room.state === ConnectionState.Connected ? 'live' : 'reconnecting';
    this.#set({ phase, people, me: people[0], isSilent: !room.canPlaybackAudio });
  }

  #addMessage({ isLocal: isMine, name, identity }: Participant, text: string): void {
    const { messages } = this.#state;
    this.#set({ messages: [...messages, { id: messages.length, name: name || identity, isMine, text, at: new Date() }] });
  }

  async #turnOn(room: Room): Promise<void> {
    this.#isTurningOn = true;
    await this.#publishDevices(room);
    this.#isTurningOn = false;
  }

  /** Both at once, so that the browser asks once; if that fails, whichever there is. */
  async #publishDevices(room: Room): Promise<void> {
    const me = room.localParticipant;
    const tracks = await me.createTracks({ audio: true, video: true }).catch(() => undefined);
    if (this.#room !== room) {
      // They left while the browser asked.
      for (const track of tracks ?? []) track.stop();
    } else if (tracks) {
      this.#devices = tracks;
      await this.#tryDevice(() => Promise.all(tracks.map((track) => me.publishTrack(track))));
    } else {
      await this.#tryDevice(() => me.setMicrophoneEnabled(true));
      await this.#tryDevice(() => me.setCameraEnabled(true));
    }
  }

  async #tryDevice(act: () => Promise<unknown> | undefined): Promise<void> {
    const room = this.#room;
    if (!room) return;
    try {
      await act();
    } catch (error) {
      const failure = MediaDeviceFailure.getFailure(error) ?? MediaDeviceFailure.Other;
      if (this.#room === room) this.#set({ notice: DEVICE_NOTICES[failure] });
    }
  }

  async #order(route: string, form?: URLSearchParams): Promise<void> {
    try {
      await this.#ask(route, form);
    } catch (error) {
      this.#set({ notice: error instanceof Refusal ? error.message : 'The server cannot be reached.' });
    }
  }

  /** Gives what the route answers, which for some is nothing. */
  async #ask(route: string, body = new URLSearchParams()) {
    const response = await fetch(`${this.#address}/${route}`, { method: 'POST', body });
    const answer = await response.json().catch(() => ({}));
    if (!response.ok) throw new Refusal(answer.error ?? 'Something went wrong');
    return answer;
  }
}

/** What lets a browser into a room: the answer of the route `join`. */
export interface Ticket {
  token: string;
  url: string;
  roomId: string;
}

/** What the server's routes say to a visitor. */
class Refusal extends Error {}

function personOf(participant: Participant): Person {
  const { identity, name, isLocal, isSpeaking, isMicrophoneEnabled, permissions } = participant;
  const trackOf = (source: Track.Source) => {
    const publication = participant.getTrackPublication(source);
    return publication?.isMuted ? undefined : publication?.track;
  };
  return {
    identity,
    name: name || identity,
    isMe: isLocal,
    isSpeaking,
    isMuted: !isMicrophoneEnabled,
    canPublish: permissions?.canPublish ?? true,
    camera: trackOf(Track.Source.Camera),
    screen: trackOf(Track.Source.ScreenShare),
  };
}
