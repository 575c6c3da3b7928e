// An ES module's view of the package: what must compile, and what must not. Needs neither DOM nor Node types.
import {
  MediaError,
  clearPlatformCache,
  createPlatform,
  getCurrentRequestStore,
  getPlatform,
  isMediaError,
  runWithRequest,
} from '@maravilla-labs/platform';
import type {
  AbortSignalLike,
  MediaAttachOptions,
  MediaCallOptions,
  MediaDataOptions,
  MediaEvent,
  MediaEventToSign,
  MediaErrorCode,
  MediaErrorDetails,
  MediaHttpServer,
  MediaMuteOptions,
  MediaParticipantChange,
  MediaParticipantInfo,
  MediaRemoval,
  MediaRemovalOptions,
  MediaRoomInfo,
  MediaRoomInfoSettings,
  MediaRoomParticipant,
  MediaService,
  MediaSignedWebhook,
  MediaTokenOptions,
  MediaTokenResult,
  MediaTrack,
  MediaTrackSource,
  MediaWebhookRequest,
  OwnedPlatform,
  Platform,
  PlatformOptions,
} from '@maravilla-labs/platform';
import * as everything from '@maravilla-labs/platform';
import type { Equal, Expect } from './equal.mjs';

// The exported values, no more and no fewer.
export type Values = Expect<
  Equal<
    Exclude<keyof typeof everything, 'default' | 'module.exports'>,
    | 'MediaError'
    | 'clearPlatformCache'
    | 'createPlatform'
    | 'getCurrentRequestStore'
    | 'getPlatform'
    | 'isMediaError'
    | 'runWithRequest'
  >
>;

// Fields of results, with their types.
export type Results = [
  Expect<
    Equal<
      MediaRoomInfo,
      { name: string; numParticipants: number; maxParticipants: number; createdAt: number; active: boolean }
    >
  >,
  Expect<Equal<MediaTokenResult, { token: string; url: string; expiresAt: number }>>,
  Expect<Equal<MediaRemoval, { tokensRevoked: boolean }>>,
  Expect<
    Equal<
      MediaRoomParticipant,
      {
        identity: string;
        name: string;
        state: 'joining' | 'joined' | 'active' | 'disconnected';
        joinedAt: number;
        metadata: string;
        attributes: Record<string, string>;
        canPublish: boolean;
        canSubscribe: boolean;
        canPublishData: boolean;
        tracks: MediaTrack[];
      }
    >
  >,
  Expect<
    Equal<
      MediaTrack,
      { sid: string; source: MediaTrackSource | 'unknown'; kind: 'audio' | 'video' | 'data'; muted: boolean }
    >
  >,
];

// Fields of arguments. Optional ones accept `undefined`.
type Source = 'camera' | 'microphone' | 'screen_share' | 'screen_share_audio';
export type Inputs = [
  Expect<Equal<MediaTrackSource, Source>>,
  Expect<
    Equal<
      MediaRoomInfoSettings,
      {
        maxParticipants?: number | undefined;
        emptyTimeoutSecs?: number | undefined;
        departureTimeoutSecs?: number | undefined;
        metadata?: string | undefined;
      }
    >
  >,
  Expect<
    Equal<
      MediaParticipantInfo,
      {
        identity: string;
        name: string;
        canPublish?: boolean | undefined;
        canSubscribe?: boolean | undefined;
        canPublishData?: boolean | undefined;
        canPublishSources?: readonly Source[] | undefined;
        canUpdateOwnMetadata?: boolean | undefined;
        hidden?: boolean | undefined;
        metadata?: string | undefined;
        attributes?: Readonly<Record<string, string>> | undefined;
        ttlSecs?: number | undefined;
        roomSettings?: MediaRoomInfoSettings | undefined;
      }
    >
  >,
  Expect<Equal<MediaCallOptions, { signal?: AbortSignalLike | undefined; timeoutMs?: number | undefined }>>,
  Expect<
    Equal<
      MediaParticipantChange,
      {
        name?: string | undefined;
        metadata?: string | undefined;
        attributes?: Readonly<Record<string, string | null>> | undefined;
        canPublish?: boolean | undefined;
        canSubscribe?: boolean | undefined;
        canPublishData?: boolean | undefined;
        canPublishSources?: readonly Source[] | undefined;
        canUpdateOwnMetadata?: boolean | undefined;
        hidden?: boolean | undefined;
      }
    >
  >,
  Expect<
    Equal<
      MediaMuteOptions,
      {
        sources?: readonly Source[] | undefined;
        signal?: AbortSignalLike | undefined;
        timeoutMs?: number | undefined;
      }
    >
  >,
  Expect<
    Equal<
      MediaDataOptions,
      {
        to?: readonly string[] | undefined;
        topic?: string | undefined;
        reliable?: boolean | undefined;
        signal?: AbortSignalLike | undefined;
        timeoutMs?: number | undefined;
      }
    >
  >,
  Expect<
    Equal<
      MediaRemovalOptions,
      { revokeTokens?: boolean | undefined; signal?: AbortSignalLike | undefined; timeoutMs?: number | undefined }
    >
  >,
  Expect<
    Equal<
      PlatformOptions,
      {
        provider?: 'livekit' | 'embedded' | 'none' | undefined;
        url?: string | undefined;
        apiUrl?: string | undefined;
        apiKey?: string | undefined;
        apiSecret?: string | undefined;
        host?: string | undefined;
        port?: number | undefined;
        publicUrl?: string | undefined;
        rtcPort?: number | undefined;
        rtcAddress?: string | undefined;
        webhookUrls?: string | readonly string[] | undefined;
        roomPrefix?: string | undefined;
        tokenTtlSecs?: number | undefined;
        timeoutMs?: number | undefined;
        env?: Readonly<Record<string, string | undefined>> | undefined;
        devServerUrl?: string | undefined;
        tenant?: string | undefined;
      }
    >
  >,
  Expect<
    Equal<
      MediaErrorDetails,
      {
        operation?: string | undefined;
        retryable?: boolean | undefined;
        upstreamStatus?: number | undefined;
        requestId?: string | undefined;
        cause?: unknown;
      }
    >
  >,
];

// The methods' parameters and results.
export type Methods = Expect<
  Equal<
    MediaService,
    {
      createRoom(
        roomId: string,
        settings?: MediaRoomInfoSettings,
        options?: MediaCallOptions,
      ): Promise<MediaRoomInfo>;
      deleteRoom(roomId: string, options?: MediaCallOptions): Promise<void>;
      listRooms(options?: MediaCallOptions): Promise<MediaRoomInfo[]>;
      generateToken(
        roomId: string,
        participant: MediaParticipantInfo,
        options?: MediaTokenOptions,
      ): Promise<MediaTokenResult>;
      attach(server: MediaHttpServer, options?: MediaAttachOptions): Promise<() => void>;
      mediaUrl(options?: MediaCallOptions): Promise<string | null>;
      listParticipants(roomId: string, options?: MediaCallOptions): Promise<MediaRoomParticipant[]>;
      receiveWebhook(request: MediaWebhookRequest, options?: MediaCallOptions): Promise<MediaEvent | null>;
      signWebhook(event: MediaEventToSign, options?: MediaCallOptions): Promise<MediaSignedWebhook>;
      getRoom(roomId: string, options?: MediaCallOptions): Promise<MediaRoomInfo | null>;
      updateRoom(roomId: string, change: { metadata: string }, options?: MediaCallOptions): Promise<MediaRoomInfo>;
      getParticipant(
        roomId: string,
        identity: string,
        options?: MediaCallOptions,
      ): Promise<MediaRoomParticipant | null>;
      updateParticipant(
        roomId: string,
        identity: string,
        change: MediaParticipantChange,
        options?: MediaCallOptions,
      ): Promise<MediaRoomParticipant>;
      muteParticipant(roomId: string, identity: string, options?: MediaMuteOptions): Promise<MediaTrack[]>;
      sendData(roomId: string, data: string | Uint8Array, options?: MediaDataOptions): Promise<void>;
      removeParticipant(roomId: string, identity: string, options?: MediaRemovalOptions): Promise<MediaRemoval>;
    }
  >
>;
export type Functions = [
  Expect<Equal<typeof getPlatform, (options?: PlatformOptions) => Platform>>,
  Expect<Equal<typeof createPlatform, (options?: PlatformOptions) => OwnedPlatform>>,
  Expect<Equal<typeof clearPlatformCache, () => void>>,
  Expect<Equal<typeof runWithRequest, <T>(request: unknown, fn: () => T) => T>>,
  Expect<Equal<typeof getCurrentRequestStore, () => undefined>>,
  Expect<Equal<Platform['media'], MediaService | undefined>>,
  Expect<Equal<ReturnType<OwnedPlatform['close']>, Promise<void>>>,
];

export async function compiles(platform: Platform): Promise<void> {
  // The check narrows the type, and methods can be destructured.
  if (!platform.media) return;
  const { createRoom, generateToken, mediaUrl } = platform.media;
  const room = await createRoom('huddle:1', { maxParticipants: 12, emptyTimeoutSecs: 60 }, { timeoutMs: 1000 });
  const anyone: Record<string, any> = room;
  void anyone;
  await createRoom('huddle:1');
  await createRoom('huddle:1', undefined, { timeoutMs: undefined });
  const url: string | null = await mediaUrl();
  void url;

  // Settings that are passed to both calls, `as const` or not.
  const settings = { maxParticipants: 12, metadata: 'x' } as const;
  await createRoom('huddle:1', settings);
  await generateToken('huddle:1', { identity: 'ann', name: 'Ann', roomSettings: settings });

  // A whole user record: unknown fields are ignored.
  const user = { identity: 'ann', name: 'Ann', email: 'ann@example.com', roles: ['host'] };
  await generateToken('huddle:1', user);
  await generateToken('huddle:1', user, { origin: 'https://app.example', timeoutMs: 500 });
  const sources = ['camera', 'microphone'] as const;
  await generateToken('huddle:1', { ...user, canPublishSources: sources, attributes: { table: '7' } });
  const optional: boolean | undefined = user.roles[0] === 'host' ? true : undefined;
  await generateToken('huddle:1', { ...user, canPublish: optional, hidden: optional, ttlSecs: undefined });

  const [first] = await platform.media.listParticipants('huddle:1');
  if (first?.state === 'active') await platform.media.removeParticipant('huddle:1', first.identity);
  const { media } = platform;
  const [muted] = await media.muteParticipant('huddle:1', 'ann', { sources });
  await media.updateParticipant('huddle:1', 'ann', { attributes: { hand: 'up', seat: null }, canPublish: optional });
  await media.sendData('huddle:1', new Uint8Array(1), { to: ['ann'], topic: muted?.sid, timeoutMs: 1000 });
  const event = await media.receiveWebhook({ body: new Uint8Array(1), authorization: null }, { timeoutMs: 1000 });
  switch (event?.type) {
    case 'participant_left':
      await media.removeParticipant(event.room.name, event.participant.identity);
      void event.participant.tracks[0]?.sid;
      void event.reason?.length;
      break;
    case 'track_published':
      void event.track.source;
      // @ts-expect-error: events of tracks have only ids
      void event.room.numParticipants;
      break;
    case 'unknown':
      void event.name.length;
      break;
    default:
      // Resent, so that it has the same shape.
      if (event) await media.signWebhook(event);
  }
  const signed: { body: string; headers: Record<string, string> } = await media.signWebhook({ type: 'room_started', room: { name: 'r' } });
  void signed;
  const { tokensRevoked } = await media.removeParticipant('huddle:1', 'ann', { revokeTokens: true });
  const none: MediaRoomInfo | null = tokensRevoked ? await media.getRoom('huddle:1') : null;
  void none;

  getPlatform();
  getPlatform({ devServerUrl: 'http://localhost:3001', tenant: 'acme' });
  getPlatform({ url: undefined, apiKey: undefined, tokenTtlSecs: undefined });
  // The type of `$env/dynamic/private` in SvelteKit.
  const env: { [key: `PUBLIC_${string}`]: undefined; [key: `${string}`]: string | undefined } = {};
  getPlatform({ env });
}

export async function disposes(): Promise<void> {
  await using platform = createPlatform({ provider: 'none' });
  const disposable: AsyncDisposable = platform;
  await disposable[Symbol.asyncDispose]();
  const plain: Platform = platform;
  void plain;
  await platform.close();
}

export function fails(error: unknown): MediaErrorCode | undefined {
  if (!isMediaError(error)) return undefined;
  const facts: [string, boolean, number | undefined, string | undefined, unknown] = [
    error.operation,
    error.retryable,
    error.upstreamStatus,
    error.requestId,
    error.cause,
  ];
  void facts;
  // Web frameworks respond with the `status` of an error.
  // @ts-expect-error
  void error.status;
  switch (error.code) {
    case 'TIMEOUT':
    case 'UNAVAILABLE':
      return error.code;
    // @ts-expect-error
    case 'TIMED_OUT':
      return undefined;
    default:
      return error.code;
  }
}

export function makes(): Error {
  // @ts-expect-error
  new MediaError('OOPS', 'no such code');
  // @ts-expect-error
  new MediaError('TIMEOUT');
  const made = new MediaError('TIMEOUT', 'no answer', { operation: 'createRoom', cause: new Error('x') });
  const name: 'MediaError' = made.name;
  void name;
  // @ts-expect-error
  made.code = 'ABORTED';
  return made;
}

export async function doesNotCompile(platform: Platform, media: MediaService): Promise<void> {
  // @ts-expect-error: check `media` first
  platform.media.createRoom('r');
  // @ts-expect-error
  media.createRoom();
  // @ts-expect-error
  media.createRoom(1);
  // @ts-expect-error
  media.createRoom('r', null);
  // @ts-expect-error
  media.createRoom('r', { maxParticipants: null });
  // @ts-expect-error
  media.createRoom('r', { maxParticipants: '12' });
  // @ts-expect-error
  media.createRoom('r', { emptyTimeout: 60 });
  // @ts-expect-error
  media.createRoom('r', {}, { timeout: 60 });
  // @ts-expect-error
  media.createRoom('r', {}, { signal: {} });
  // @ts-expect-error
  media.generateToken('r');
  // @ts-expect-error
  media.generateToken('r', {});
  // @ts-expect-error
  media.generateToken('r', { identity: 'ann' });
  // @ts-expect-error
  media.generateToken('r', { name: 'Ann' });
  // @ts-expect-error
  media.generateToken('r', { identity: 1, name: 'Ann' });
  // @ts-expect-error: a typo in a permission must not grant it
  media.generateToken('r', { identity: 'ann', name: 'Ann', canPublsh: false });
  // @ts-expect-error
  media.generateToken('r', { identity: 'ann', name: 'Ann', canPublish: 'no' });
  // @ts-expect-error
  media.generateToken('r', { identity: 'ann', name: 'Ann', canPublish: null });
  // @ts-expect-error
  media.generateToken('r', { identity: 'ann', name: 'Ann', canPublishSources: ['webcam'] });
  // @ts-expect-error
  media.generateToken('r', { identity: 'ann', name: 'Ann', attributes: { table: 7 } });
  // @ts-expect-error
  media.generateToken('r', { identity: 'ann', name: 'Ann', metadata: { table: 7 } });
  // @ts-expect-error
  media.createRoom('r', {}, { origin: 'https://app.example' });
  // @ts-expect-error
  media.attach();
  // @ts-expect-error
  media.attach({});
  // @ts-expect-error
  media.removeParticipant('r');
  // @ts-expect-error
  media.updateRoom('r', {});
  // @ts-expect-error
  media.receiveWebhook('{}');
  // @ts-expect-error: a parsed body
  media.receiveWebhook({ body: { event: 'room_started' }, authorization: '' });
  // @ts-expect-error
  media.signWebhook({ type: 'room_begun' });
  // @ts-expect-error: a typo in a permission must not keep it
  media.updateParticipant('r', 'ann', { canPublsh: false });
  // @ts-expect-error
  media.updateParticipant('r', 'ann', { canPublish: null });
  // @ts-expect-error
  media.sendData('r', { text: 'hello' });
  // @ts-expect-error
  media.sendData('r', 'hello', { to: 'ann' });
  // @ts-expect-error
  media.muteParticipant('r', 'ann', { sources: ['webcam'] });
  // @ts-expect-error
  media.deleteRoom({ name: 'r' });
  // @ts-expect-error: a promise is not its value
  const url: string | null = media.mediaUrl();
  void url;
  // @ts-expect-error: `null` means that no URL is configured
  const given: string = await media.mediaUrl();
  void given;
  // @ts-expect-error
  void (await media.createRoom('r')).sid;
  // @ts-expect-error: only in an app that augments the platform
  void platform.realtime;
  // @ts-expect-error
  getPlatform({ provider: 'zoom' });
  // @ts-expect-error
  getPlatform({ timeoutMs: '10000' });
  // @ts-expect-error
  getPlatform({ provider: 'embedded', port: '7880' });
  // @ts-expect-error
  getPlatform({ apikey: 'k' });
  // @ts-expect-error
  getPlatform(null);
  // @ts-expect-error: only platforms of createPlatform can be closed
  getPlatform().close();
}
