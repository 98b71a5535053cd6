import com.hivemq.embedded.EmbeddedExtension;
import com.hivemq.embedded.EmbeddedHiveMQ;
import com.hivemq.extension.sdk.api.ExtensionMain;
import com.hivemq.extension.sdk.api.auth.Authenticator;
import com.hivemq.extension.sdk.api.auth.SimpleAuthenticator;
import com.hivemq.extension.sdk.api.auth.parameter.SimpleAuthInput;
import com.hivemq.extension.sdk.api.auth.parameter.SimpleAuthOutput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStartInput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStartOutput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStopInput;
import com.hivemq.extension.sdk.api.parameter.ExtensionStopOutput;
import com.hivemq.extension.sdk.api.services.Services;
import com.hivemq.extension.sdk.api.services.builder.Builders;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/**
 * HiveMQ Community Edition for tests, of another maker than mosquitto: the same contract tests run against both.
 *
 * usage: java HiveMq FOLDER      (config.xml there says where to listen; each line of the file accounts: name, password, topic filter;
 * with a file named own-names an account connects under its own name only, so that it cannot take the session of another)
 */
public final class HiveMq implements ExtensionMain {
    private record Account(String password, String filter) {}

    private final Map<String, Account> accounts = new HashMap<>();
    private final boolean ownNames;

    private HiveMq(final Path folder) throws IOException {
        final Path file = folder.resolve("accounts");
        ownNames = Files.exists(folder.resolve("own-names"));
        if (!Files.exists(file)) {
            return;
        }
        for (final String line : Files.readAllLines(file)) {
            final String[] words = line.split(" ");
            accounts.put(words[0], new Account(words[1], words[2]));
        }
    }

    public static void main(final String[] arguments) throws Exception {
        final Path folder = Path.of(arguments[0]);
        final EmbeddedExtension extension = EmbeddedExtension.builder()
                .withId("accounts")
                .withName("accounts")
                .withVersion("1")
                .withExtensionMain(new HiveMq(folder))
                .build();
        final EmbeddedHiveMQ broker = EmbeddedHiveMQ.builder()
                .withConfigurationFolder(folder)
                .withDataFolder(Files.createDirectories(folder.resolve("data")))
                .withExtensionsFolder(Files.createDirectories(folder.resolve("extensions")))
                .withEmbeddedExtension(extension)
                .build();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> broker.stop().join()));
        broker.start().join();
        Thread.currentThread().join();
    }

    @Override
    public void extensionStart(final ExtensionStartInput input, final ExtensionStartOutput output) {
        final Authenticator authenticator = (SimpleAuthenticator) this::authenticate;
        Services.securityRegistry().setAuthenticatorProvider(provided -> authenticator);
    }

    @Override
    public void extensionStop(final ExtensionStopInput input, final ExtensionStopOutput output) {}

    private void authenticate(final SimpleAuthInput input, final SimpleAuthOutput output) {
        if (accounts.isEmpty()) {
            output.authenticateSuccessfully();
            return;
        }
        final String name = input.getConnectPacket().getUserName().orElse("");
        final Account account = accounts.get(name);
        final String password = input.getConnectPacket()
                .getPassword()
                .map(bytes -> StandardCharsets.UTF_8.decode(bytes).toString())
                .orElse("");
        if (account == null || !account.password().equals(password)) {
            output.failAuthentication();
            return;
        }
        if (ownNames && !name.equals(input.getClientInformation().getClientId())) {
            output.failAuthentication();
            return;
        }
        output.getDefaultPermissions().add(Builders.topicPermission().topicFilter(account.filter()).build());
        output.authenticateSuccessfully();
    }
}
