/// <reference lib="esnext.disposable" />

/** A room as the server has it now. */
export interface MediaRoomInfo {
  /** The room's name, without the configured prefix. */
  name: string;
  /** Participants in the room; a LiveKit server may lag up to 10 s and counts hidden ones. */
  numParticipants: number;
  /** Most participants at once; `0`: no limit. */
  maxParticipants: number;
  /** Milliseconds since the epoch. */
  createdAt: number;
  /** The room is open on the server: a client may join it. */
  active: boolean;
}

/** What a new room is made with. A room that is already live keeps what it has. */
export interface MediaRoomInfoSettings {
  /** Most participants at once; default `0`: no limit. */
  maxParticipants?: number | undefined;
  /** Seconds an empty room lives, before the first join and after the last leave; default `0`: the server's (LiveKit: 300 and 20). */
  emptyTimeoutSecs?: number | undefined;
  /** Seconds a room lives after the last leave, where that differs from `emptyTimeoutSecs`. */
  departureTimeoutSecs?: number | undefined;
  /** Text handed to everyone in the room. */
  metadata?: string | undefined;
}

/** Where a track comes from. */
export type MediaTrackSource = 'camera' | 'microphone' | 'screen_share' | 'screen_share_audio';

/** Whom a token is for and what it allows. Other keys (a whole user record) are ignored and never enter the token. */
export interface MediaParticipantInfo {
  /** Unique within the room: a second join with the same identity removes the first. 1 to 256 bytes of UTF-8. */
  identity: string;
  /** The name others see. */
  name: string;
  /** May publish audio and video; default `true`. */
  canPublish?: boolean | undefined;
  /** May receive others' tracks; default `true`. */
  canSubscribe?: boolean | undefined;
  /** May send data messages; default `true`, whatever `canPublish` says. */
  canPublishData?: boolean | undefined;
  /** The only sources it may publish; default: all. */
  canPublishSources?: readonly MediaTrackSource[] | undefined;
  /** May change its own name, metadata and attributes; default `false`. */
  canUpdateOwnMetadata?: boolean | undefined;
  /** Not shown to the others; default `false`. */
  hidden?: boolean | undefined;
  /** Text handed to everyone in the room. */
  metadata?: string | undefined;
  /** Key and value texts handed to everyone in the room. */
  attributes?: Readonly<Record<string, string>> | undefined;
  /** Seconds the token is good for joining, 1 to 2,592,000; default: the configured `tokenTtlSecs`. */
  ttlSecs?: number | undefined;
  /** What the room is made with if this join creates it anew, after it timed out. Pass what you pass to `createRoom`. */
  roomSettings?: MediaRoomInfoSettings | undefined;
}

/** What a browser needs to join. */
export interface MediaTokenResult {
  /** The signed token (JWT). Hand it to the one it is for, and do not cache it. */
  token: string;
  /** The ws or wss address to connect to. */
  url: string;
  /** When the token stops being good for joining, in milliseconds since the epoch. */
  expiresAt: number;
}

/** A track that a participant has published. */
export interface MediaTrack {
  sid: string;
  source: MediaTrackSource | 'unknown';
  kind: 'audio' | 'video' | 'data';
  muted: boolean;
}

/** A participant in a room. */
export interface MediaParticipant {
  identity: string;
  name: string;
  state: 'joining' | 'joined' | 'active' | 'disconnected';
  /** Milliseconds since the epoch. */
  joinedAt: number;
  metadata: string;
  attributes: Record<string, string>;
  canPublish: boolean;
  canSubscribe: boolean;
  canPublishData: boolean;
  tracks: MediaTrack[];
}

/** How long a call may take, and what ends it early. */
export interface MediaCallOptions {
  /** Ends this call with `ABORTED`; other callers of the same room are not touched. */
  signal?: AbortSignalLike | undefined;
  /** Milliseconds for the whole call, queue and retries included; default: the configured `timeoutMs` (10,000). */
  timeoutMs?: number | undefined;
}

/** What is used of an `AbortSignal`, so that no DOM or Node types are needed. */
export interface AbortSignalLike {
  readonly aborted: boolean;
  readonly reason?: unknown;
  addEventListener(type: 'abort', listener: () => void): void;
  removeEventListener(type: 'abort', listener: () => void): void;
}

/** Rooms and tokens. Every failure is a rejected promise with a {@link MediaError}; methods work when taken off the object. */
export interface MediaService {
  /** Creates the room, or gives the live one of that name back unchanged. */
  createRoom(roomId: string, settings?: MediaRoomInfoSettings, options?: MediaCallOptions): Promise<MediaRoomInfo>;
  /**
   * Disconnects everyone and removes the room; a room that is not there is success.
   * On LiveKit an unexpired token can create the room anew by joining, unless the server has `room.auto_create: false`.
   */
  deleteRoom(roomId: string, options?: MediaCallOptions): Promise<void>;
  /** The rooms on the server, sorted by name; with a `roomPrefix`, only those that bear it. */
  listRooms(options?: MediaCallOptions): Promise<MediaRoomInfo[]>;
  /** Mints a token to join one room as one participant. Local work, no network. */
  generateToken(roomId: string, participant: MediaParticipantInfo, options?: MediaCallOptions): Promise<MediaTokenResult>;
  /** Where browsers connect (ws or wss), or `null` while no URL is configured. */
  mediaUrl(options?: MediaCallOptions): Promise<string | null>;
  /** Those in the room, sorted by identity; none for a room that is not there. */
  listParticipants(roomId: string, options?: MediaCallOptions): Promise<MediaParticipant[]>;
  /** Disconnects a participant. Their token stays valid: they can join again until it expires. */
  removeParticipant(roomId: string, identity: string, options?: MediaCallOptions): Promise<void>;
}

/** What the running app's platform offers. Augment it with what your platform injects. */
export interface Platform {
  /** `undefined` while no media provider is configured: check before use. */
  media?: MediaService;
}

/** A platform of your own, from {@link createPlatform}. */
export interface OwnedPlatform extends Platform, AsyncDisposable {
  /** Lets go of everything the platform holds; resolves when nothing is pending. */
  close(): Promise<void>;
}

/** Where rooms live. An option beats its environment variable; `undefined` and `''` count as absent. */
export interface PlatformOptions {
  /** `MARAVILLA_MEDIA_PROVIDER`: default `livekit` when key and secret are set, else `none`. */
  provider?: 'livekit' | 'none' | undefined;
  /** `LIVEKIT_URL`: where clients connect; ws, wss, http or https. */
  url?: string | undefined;
  /** `LIVEKIT_API_URL`: where the server API is reached, when that differs; default: `url`. */
  apiUrl?: string | undefined;
  /** `LIVEKIT_API_KEY`. */
  apiKey?: string | undefined;
  /** `LIVEKIT_API_SECRET`. */
  apiSecret?: string | undefined;
  /** `MARAVILLA_MEDIA_ROOM_PREFIX`: put before every room name on the server. Must not end in a letter or digit. */
  roomPrefix?: string | undefined;
  /** `MARAVILLA_MEDIA_TOKEN_TTL_SECS`: seconds, 1 to 2,592,000; default 21600 (6 h). */
  tokenTtlSecs?: number | undefined;
  /** `MARAVILLA_MEDIA_TIMEOUT_MS`: milliseconds for a whole call; default 10000. */
  timeoutMs?: number | undefined;
  /** Read in place of `process.env`, as with SvelteKit's `$env/dynamic/private`. */
  env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Accepted for compatibility; no effect. */
  devServerUrl?: string | undefined;
  /** Accepted for compatibility; no effect. */
  tenant?: string | undefined;
}

/**
 * The process's platform: the injected one where there is one, else one made from options and environment.
 * The same object at each call. Options that differ from the first call's, or a provider that cannot run: throws `INVALID_CONFIG`.
 */
export declare function getPlatform(options?: PlatformOptions): Platform;

/** Forgets the platform that {@link getPlatform} gave, so that the next call makes a new one. */
export declare function clearPlatformCache(): void;

/** A platform of your own: uncached, and without the environment unless `env` is given. Throws `INVALID_CONFIG`. */
export declare function createPlatform(options?: PlatformOptions): OwnedPlatform;

/** Why a call failed; what each means and how to mend it stands in the README. */
export type MediaErrorCode =
  | 'INVALID_ARGUMENT'
  | 'INVALID_CONFIG'
  | 'URL_NOT_CONFIGURED'
  | 'UNAUTHENTICATED'
  | 'PERMISSION_DENIED'
  | 'ROOM_NOT_FOUND'
  | 'PARTICIPANT_NOT_FOUND'
  | 'LIMIT_EXCEEDED'
  | 'UNAVAILABLE'
  | 'TIMEOUT'
  | 'ABORTED'
  | 'BAD_RESPONSE'
  | 'UPSTREAM_ERROR'
  | 'INTERNAL';

/** What a {@link MediaError} tells besides its code and message. */
export interface MediaErrorDetails {
  operation?: string | undefined;
  retryable?: boolean | undefined;
  upstreamStatus?: number | undefined;
  requestId?: string | undefined;
  cause?: unknown;
}

/** The one error of this package. It has no `status`, so that no web framework answers a visitor with it. */
export declare class MediaError extends Error {
  constructor(code: MediaErrorCode, message: string, details?: MediaErrorDetails);
  readonly name: 'MediaError';
  readonly code: MediaErrorCode;
  /** The function or method that failed, such as `createRoom`. */
  readonly operation: string;
  /** The same call may succeed later. */
  readonly retryable: boolean;
  /** The HTTP status the server answered, where it did. */
  readonly upstreamStatus?: number;
  /** The request's id (`X-Livekit-Request-Id`), where a request was sent. */
  readonly requestId?: string;
  readonly cause?: unknown;
}

/** Whether a caught value is a {@link MediaError}, also one of another copy of this package. */
export declare function isMediaError(value: unknown): value is MediaError;
